"""What names of files and directories say about their content: tables, and nothing that reads them."""

from __future__ import annotations

from mlkit.spec.media_types import Class

DATA_SUFFIXES = frozenset(
    {
        "csv",
        "tsv",
        "jsonl",
        "ndjson",
        "parquet",
        "arrow",
        "feather",
        "avro",
        "orc",
        "npy",
        "npz",
        "tfrecord",
        "tfrecords",
        "lance",
        "mds",
        "zarr",
    }
)
ARCHIVE_SUFFIXES = frozenset({"tar", "tgz", "zip", "zst", "gz", "xz"})
CODE_SUFFIXES = frozenset(
    {
        "py",
        "ipynb",
        "sh",
        "bash",
        "r",
        "rmd",
        "jl",
        "c",
        "cc",
        "cpp",
        "h",
        "hpp",
        "cu",
        "go",
        "rs",
        "js",
        "ts",
        "java",
        "scala",
        "kt",
        "sql",
        "lock",
        "cfg",
        "ini",
        "pyi",
        "mk",
        "tf",
        "dvc",
    }
)
DOC_SUFFIXES = frozenset({"md", "rst", "pdf", "adoc", "html", "tex", "bib"})
MEDIA_SUFFIXES = frozenset(
    {"png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "tiff", "wav", "mp3", "flac", "ogg", "mp4", "webm"}
)
BESIDE_WEIGHTS = frozenset({"json", "txt", "model", "jinja", "jinja2", "vocab", "spm", "tiktoken", "proto"})
BESIDE_MEDIA = frozenset({"json", "txt", "xml"})
CONFIG_SUFFIXES = frozenset({"yaml", "yml", "json", "toml"})

TOKENIZER_NAMES = (
    "tokenizer*.json",
    "tokenizer*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.txt",
    "vocab.json",
    "vocab.bpe",
    "spiece.model",
    "sentencepiece*.model",
    "*.tiktoken",
    "chat_template.*",
)
MODEL_CONFIG_NAMES = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "model_index.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
    "scheduler_config.json",
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
)
INDEX_NAMES = ("*.safetensors.index.json", "*.bin.index.json", "*.h5.index.json", "*.msgpack.index.json")
TRAINING_STATE_NAMES = ("optimizer*.*", "scheduler*.pt", "scaler*.pt", "rng_state*", "random_states*")
"""Files that a training goes on from, and nothing else needs."""
RESULT_NAMES = (
    "*metrics*.json",
    "*_results.json",
    "results*.json",
    "eval*.json",
    "trainer_state.json",
    "*scores*.json",
)

LICENCE_NAMES = ("license*", "licence*", "copying*", "notice*")
PROMPT_NAMES = (
    "*.prompt",
    "*.prompt.*",
    "*.prompty",
    "skill.md",
    "agents.md",
    "claude.md",
    "system_prompt*",
    "system-prompt*",
)
DOC_NAMES = ("readme*", "model_card*", "model-card*", "modelcard*", "changelog*", "citation*", "datasheet*")
CODE_NAMES = (
    "requirements*.txt",
    "constraints*.txt",
    "pyproject.toml",
    "setup.cfg",
    "pipfile",
    "makefile",
    "justfile",
    "cmakelists.txt",
    "environment*.y*ml",
    "conda*.y*ml",
    "python_env.yaml",
    "cargo.toml",
    "package.json",
    "tsconfig*.json",
    "dvc.yaml",
    "mlproject",
    "meta.yaml",
    ".pre-commit-config.yaml",
    ".python-version",
    ".editorconfig",
    ".git*",
)
PARAMETER_NAMES = (
    "params*.*",
    "parameters*.*",
    "hparams*.*",
    "hyperparam*.*",
    "training_args*",
    "training-args*",
    "train*.y*ml",
    "train*.toml",
    "train_config*.*",
    "train-config*.*",
    "training_config*.*",
    "training-config*.*",
    "finetun*.y*ml",
    "accelerate*.y*ml",
    "axolotl*.y*ml",
    "deepspeed*.json",
    "ds_config*.json",
    "sweep*.y*ml",
)
DEPLOYMENT_NAMES = (
    "dockerfile*",
    "*.dockerfile",
    "containerfile*",
    "compose*.y*ml",
    "docker-compose*.y*ml",
    "*.k8s.y*ml",
    "deploy*.*",
    "serving*.*",
    "serve*.y*ml",
    "inference*.y*ml",
    "isvc*.y*ml",
    "kserve*.y*ml",
    "knative*.y*ml",
    "chart.yaml",
    "kustomization.y*ml",
    "config.pbtxt",
    "modelfile",
    "bentofile.y*ml",
    ".dockerignore",
)
RUNTIMES = {
    "config.pbtxt": "triton",
    "modelfile": "ollama",
    "bentofile.yaml": "bentoml",
}
"""Deployment files that only one program reads."""
DIRECTORIES = {
    **dict.fromkeys(
        ("data", "dataset", "datasets", "train", "test", "val", "validation", "labels", "annotations"), Class.DATASETS
    ),
    **dict.fromkeys(("docs", "doc", "figures", "figs", "reports"), Class.DOCS),
    **dict.fromkeys(("prompts", "prompt"), Class.PROMPTS),
    **dict.fromkeys(
        ("params", "parameters", "hparams", "hyperparameters", "conf", "configs", "hydra"), Class.PARAMETERS
    ),
    **dict.fromkeys(
        ("deploy", "deployment", "deployments", "k8s", "kubernetes", "helm", "charts", "serving"), Class.DEPLOYMENT
    ),
    **dict.fromkeys(("model", "models", "weights", "checkpoints", "checkpoint"), Class.MODEL),
    **dict.fromkeys(("src", "code", "scripts", "notebooks", "lib", "tests", ".github", ".circleci"), Class.CODE),
}
"""What a directory of this name holds, where a file in it does not say otherwise."""
