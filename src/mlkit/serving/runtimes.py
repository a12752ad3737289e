"""The runtimes table: which programs serve models, what they read, and how each is started and asked. Data alone.

Images are pinned by tag, and the tags are those of the releases that the commands were written for. Whatever stands
here can be overridden where it is used: another image, another command, another port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Protocol = Literal["openai", "v2", "invocations", "any"]
"""How a server is asked: OpenAI's HTTP API, the Open Inference Protocol V2, MLflow's `/invocations`, or who knows."""

Gpu = Literal["required", "optional", "none"]
"""What a runtime makes of an NVIDIA GPU."""


@dataclass(frozen=True, slots=True)
class Format:
    """A form that a model comes in, as far as servers tell them apart."""

    name: str
    title: str
    is_directory: bool = False
    """Whether the model is a directory as a whole, and no file of it."""
    runs_code: bool = False
    """Whether loading it runs code that came with it: pickles, and models that bring Python along."""


FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("huggingface", "Hugging Face model directory (config.json and weights)", is_directory=True),
        Format("gguf", "GGUF"),
        Format("triton-repository", "Triton model repository", is_directory=True, runs_code=True),
        Format("mlserver", "MLServer model directory (model-settings.json)", is_directory=True, runs_code=True),
        Format("mlflow", "MLflow model", is_directory=True, runs_code=True),
        Format("onnx", "ONNX"),
        Format("tensorrt", "TensorRT engine"),
        Format("saved_model", "TensorFlow SavedModel", is_directory=True),
        Format("torchscript", "TorchScript", runs_code=True),
        Format("xgboost", "XGBoost (JSON, UBJ)"),
        Format("lightgbm", "LightGBM text"),
        Format("catboost", "CatBoost (cbm)"),
        Format("sklearn", "scikit-learn pickle (joblib)", runs_code=True),
    )
}
"""In the order in which they are taken where a kit holds its model in several of them and nobody says which."""


@dataclass(frozen=True, slots=True)
class Local:
    """One way to run a server that is installed on this machine."""

    argv: tuple[str, ...]
    """Placeholders: {python} {program} {model} {repository} {name} {host} {port} {implementation}."""
    program: str | None = None
    """The executable that must be on the PATH or beside this Python."""
    modules: tuple[str, ...] = ()
    """The Python modules that this Python must have."""
    pip: str | None = None
    """What installs it; None where pip has no such thing."""
    health: str | None = None
    """Where this way has another health path than the runtime's."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program that serves models."""

    name: str
    title: str
    formats: tuple[str, ...]
    """Names in FORMATS; none for `custom`, which takes what its command takes."""
    protocol: Protocol
    gpu: Gpu
    port: int
    """Where it listens in a container; above 1024, so that it need not be root."""
    health: str
    """GET answers 200 while the process lives."""
    ready: str
    """GET answers 200 once the model can be asked; {name} stands for the model."""
    container: tuple[str, ...] = ()
    """The whole command in a container, entry point included; placeholders as in `Local`."""
    image: str | None = None
    """None where nobody publishes one."""
    cpu_image: str | None = None
    """For machines without a GPU, where that is another."""
    local: tuple[Local, ...] = ()
    """In the order in which they are tried."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """For container and machine alike; placeholders as in `Local`."""
    placed: Mapping[str, str] = field(default_factory=dict)
    """By format, where below {repository} the model must lie; no entry where it is taken from where it is."""
    implementations: Mapping[str, str] = field(default_factory=dict)
    """By format, what {implementation} stands for."""
    note: str = ""


_OPENAI_HEALTH = "/health"
_V2_LIVE = "/v2/health/live"
_V2_READY = "/v2/models/{name}/ready"

RUNTIMES: Mapping[str, Runtime] = {
    one.name: one
    for one in (
        Runtime(
            "vllm",
            "vLLM",
            formats=("huggingface",),
            protocol="openai",
            gpu="required",
            port=8000,
            health=_OPENAI_HEALTH,
            ready=_OPENAI_HEALTH,
            container=("vllm", "serve", "{model}", "--served-model-name={name}", "--host={host}", "--port={port}"),
            image="docker.io/vllm/vllm-openai:v0.33.0",
            local=(
                Local(
                    ("{program}", "serve", "{model}", "--served-model-name={name}", "--host={host}", "--port={port}"),
                    program="vllm",
                    pip="vllm>=0.11",
                ),
            ),
            environ={"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            note="needs /dev/shm for tensor parallelism",
        ),
        Runtime(
            "sglang",
            "SGLang",
            formats=("huggingface",),
            protocol="openai",
            gpu="required",
            port=30000,
            health=_OPENAI_HEALTH,
            ready=_OPENAI_HEALTH,
            container=(
                "python3",
                "-m",
                "sglang.launch_server",
                "--model-path={model}",
                "--served-model-name={name}",
                "--host={host}",
                "--port={port}",
            ),
            image="docker.io/lmsysorg/sglang:v0.5.23",
            local=(
                Local(
                    (
                        "{python}",
                        "-m",
                        "sglang.launch_server",
                        "--model-path={model}",
                        "--served-model-name={name}",
                        "--host={host}",
                        "--port={port}",
                    ),
                    modules=("sglang",),
                    pip="sglang[all]>=0.5",
                ),
            ),
            environ={"HF_HUB_OFFLINE": "1"},
        ),
        Runtime(
            "tgi",
            "Text Generation Inference",
            formats=("huggingface",),
            protocol="openai",
            gpu="required",
            port=8080,
            health=_OPENAI_HEALTH,
            ready=_OPENAI_HEALTH,
            container=("text-generation-launcher", "--model-id={model}", "--hostname={host}", "--port={port}"),
            image="ghcr.io/huggingface/text-generation-inference:3.3.4",
            local=(
                Local(
                    ("{program}", "--model-id={model}", "--hostname={host}", "--port={port}"),
                    program="text-generation-launcher",
                ),
            ),
            environ={"HF_HUB_OFFLINE": "1"},
            note="in maintenance: its authors point new users to vLLM and SGLang",
        ),
        Runtime(
            "llama.cpp",
            "llama.cpp",
            formats=("gguf",),
            protocol="openai",
            gpu="optional",
            port=8080,
            health=_OPENAI_HEALTH,
            ready=_OPENAI_HEALTH,
            container=("/app/llama-server", "--model={model}", "--alias={name}", "--host={host}", "--port={port}"),
            image="ghcr.io/ggml-org/llama.cpp:server-cuda-b11206",
            cpu_image="ghcr.io/ggml-org/llama.cpp:server-b11206",
            local=(
                Local(
                    ("{program}", "--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"),
                    program="llama-server",
                ),
                Local(
                    (
                        "{python}",
                        "-m",
                        "llama_cpp.server",
                        "--model={model}",
                        "--model_alias={name}",
                        "--host={host}",
                        "--port={port}",
                    ),
                    modules=("llama_cpp",),
                    pip="llama-cpp-python[server]>=0.3",
                    health="/v1/models",
                ),
            ),
        ),
        Runtime(
            "triton",
            "Triton Inference Server",
            formats=("triton-repository", "onnx", "tensorrt", "saved_model", "torchscript"),
            protocol="v2",
            gpu="optional",
            port=8000,
            health=_V2_LIVE,
            ready="/v2/health/ready",
            container=(
                "tritonserver",
                "--model-repository={repository}",
                "--http-address={host}",
                "--http-port={port}",
            ),
            image="nvcr.io/nvidia/tritonserver:25.12-py3",
            local=(
                Local(
                    (
                        "{program}",
                        "--model-repository={repository}",
                        "--http-address={host}",
                        "--http-port={port}",
                        "--allow-grpc=false",
                        "--allow-metrics=false",
                    ),
                    program="tritonserver",
                ),
            ),
            placed={
                "onnx": "{name}/1/model.onnx",
                "tensorrt": "{name}/1/model.plan",
                "saved_model": "{name}/1/model.savedmodel",
                "torchscript": "{name}/1/model.pt",
            },
            note="TorchScript needs a config.pbtxt; ONNX, TensorRT and SavedModel do without",
        ),
        Runtime(
            "onnx",
            "ONNX Runtime behind KServe's model server",
            formats=("onnx",),
            protocol="v2",
            gpu="optional",
            port=8080,
            health=_V2_LIVE,
            ready=_V2_READY,
            container=(
                "python3",
                "-m",
                "mlkit.integrations.kserve_onnx",
                "--model-path={model}",
                "--model-name={name}",
                "--host={host}",
                "--port={port}",
            ),
            local=(
                Local(
                    (
                        "{python}",
                        "-m",
                        "mlkit.integrations.kserve_onnx",
                        "--model-path={model}",
                        "--model-name={name}",
                        "--host={host}",
                        "--port={port}",
                    ),
                    modules=("kserve", "onnxruntime"),
                    pip="mlkit[onnx]",
                ),
            ),
            note="no published image: build one with `mlkit[onnx]`, or use Triton in a cluster",
        ),
        Runtime(
            "mlserver",
            "MLServer",
            formats=("mlserver", "mlflow", "xgboost", "lightgbm", "catboost", "sklearn"),
            protocol="v2",
            gpu="none",
            port=8080,
            health=_V2_LIVE,
            ready=_V2_READY,
            container=("mlserver", "start", "{model}"),
            image="docker.io/seldonio/mlserver:1.7.1",
            local=(
                Local(
                    ("{program}", "start", "{model}"),
                    program="mlserver",
                    pip="mlserver mlserver-sklearn mlserver-xgboost mlserver-lightgbm mlserver-mlflow",
                ),
            ),
            environ={
                "MLSERVER_HOST": "{host}",
                "MLSERVER_HTTP_PORT": "{port}",
                "MLSERVER_MODEL_NAME": "{name}",
                "MLSERVER_MODEL_URI": "{model}",
                "MLSERVER_MODEL_IMPLEMENTATION": "{implementation}",
                "MLSERVER_PARALLEL_WORKERS": "0",
            },
            implementations={
                "mlflow": "mlserver_mlflow.MLflowRuntime",
                "xgboost": "mlserver_xgboost.XGBoostModel",
                "lightgbm": "mlserver_lightgbm.LightGBMModel",
                "catboost": "mlserver_catboost.CatboostModel",
                "sklearn": "mlserver_sklearn.SKLearnModel",
            },
            note="wants an environment of its own: it needs an older starlette than mlkit[server]",
        ),
        Runtime(
            "mlflow",
            "MLflow",
            formats=("mlflow",),
            protocol="invocations",
            gpu="none",
            port=8080,
            health="/ping",
            ready="/ping",
            container=(
                "mlflow",
                "models",
                "serve",
                "--model-uri={model}",
                "--env-manager=local",
                "--host={host}",
                "--port={port}",
            ),
            image="ghcr.io/mlflow/mlflow:v3.18.0",
            local=(
                Local(
                    (
                        "{program}",
                        "models",
                        "serve",
                        "--model-uri={model}",
                        "--env-manager=local",
                        "--host={host}",
                        "--port={port}",
                    ),
                    program="mlflow",
                    pip="mlflow>=3",
                ),
            ),
            note="what the model imports must be in the image, or installed beside it",
        ),
        Runtime(
            "custom",
            "A command of your own",
            formats=(),
            protocol="any",
            gpu="optional",
            port=8080,
            health="/",
            ready="/",
            note="--command says what runs; placeholders as in this table",
        ),
    )
}
"""In the order in which they are taken for a format."""

WORDS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in RUNTIMES},
    "onnx": ("onnx", "triton"),
    "onnxruntime": ("onnx", "triton"),
    "kserve-onnx": ("onnx",),
    "llamacpp": ("llama.cpp",),
    "llama-cpp": ("llama.cpp",),
    "llama_cpp": ("llama.cpp",),
    "llama-cpp-python": ("llama.cpp",),
    "text-generation-inference": ("tgi",),
    "tritonserver": ("triton",),
    "nvidia-triton": ("triton",),
    "tensorrt": ("triton",),
    "sklearn": ("mlserver",),
    "xgboost": ("mlserver",),
}
"""What people write for a runtime, in small letters, and the runtimes that will do."""
