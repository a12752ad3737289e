"""Which class a file most likely belongs to, by its name and its first bytes. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlkit.spec.media_types import Class

HEAD_SIZE = 4096
"""Bytes at the beginning of a file that `recognise` can make use of."""

WEIGHT_FORMATS = {
    "safetensors": "safetensors",
    "gguf": "gguf",
    "ggml": "ggml",
    "onnx": "onnx",
    "pt": "pytorch",
    "pth": "pytorch",
    "ckpt": "checkpoint",
    "h5": "hdf5",
    "hdf5": "hdf5",
    "keras": "keras",
    "tflite": "tflite",
    "pb": "tensorflow",
    "mlmodel": "coreml",
    "msgpack": "flax",
    "joblib": "joblib",
    "pkl": "pickle",
    "pickle": "pickle",
    "bin": "bin",
}
"""Suffixes of weights, and what a Kitfile calls their format."""
RUNS_CODE = frozenset({"pytorch", "checkpoint", "joblib", "pickle", "bin"})
"""Formats that are or may be Python pickles, which run code when they are loaded."""

_DATA_SUFFIXES = frozenset(
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
_ARCHIVE_SUFFIXES = frozenset({"tar", "tgz", "zip", "zst", "gz", "xz"})
_CODE_SUFFIXES = frozenset(
    {
        "py",
        "ipynb",
        "sh",
        "bash",
        "r",
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
    }
)
_DOC_SUFFIXES = frozenset({"md", "rst", "pdf", "adoc", "html", "tex"})
_MEDIA_SUFFIXES = frozenset(
    {"png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "tiff", "wav", "mp3", "flac", "ogg", "mp4", "webm"}
)
_BESIDE_WEIGHTS = frozenset({"json", "txt", "model", "jinja", "jinja2", "vocab", "spm", "tiktoken", "proto"})
_CONFIG_SUFFIXES = frozenset({"yaml", "yml", "json", "toml"})

_LICENCE_NAMES = ("license*", "licence*", "copying*", "notice*")
_PROMPT_NAMES = ("*.prompt", "*.prompt.*", "*.prompty", "skill.md", "system_prompt*", "system-prompt*")
_DOC_NAMES = ("readme*", "model_card*", "model-card*", "modelcard*", "changelog*", "citation*", "datasheet*")
_CODE_NAMES = (
    "requirements*.txt",
    "constraints*.txt",
    "pyproject.toml",
    "setup.cfg",
    "pipfile",
    "makefile",
    "cmakelists.txt",
    "environment*.y*ml",
    "cargo.toml",
    "package.json",
    ".python-version",
    ".git*",
)
_PARAMETER_NAMES = (
    "params*.*",
    "parameters*.*",
    "hparams*.*",
    "hyperparam*.*",
    "training_args*",
    "training-args*",
    "train_config*.*",
    "train-config*.*",
    "training_config*.*",
    "training-config*.*",
    "sweep*.y*ml",
)
_DEPLOYMENT_NAMES = (
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
    ".dockerignore",
)
_DIRECTORIES = {
    **dict.fromkeys(("data", "dataset", "datasets", "train", "test", "val", "validation"), Class.DATASETS),
    **dict.fromkeys(("docs", "doc"), Class.DOCS),
    **dict.fromkeys(("prompts", "prompt"), Class.PROMPTS),
    **dict.fromkeys(("params", "parameters", "hparams", "hyperparameters"), Class.PARAMETERS),
    **dict.fromkeys(
        ("deploy", "deployment", "deployments", "k8s", "kubernetes", "helm", "charts", "serving"), Class.DEPLOYMENT
    ),
    **dict.fromkeys(("model", "models", "weights", "checkpoints", "checkpoint"), Class.MODEL),
    **dict.fromkeys(("src", "code", "scripts", "notebooks", "lib"), Class.CODE),
}
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # ZIP; pickle protocols 2 to 5
_KUBERNETES = re.compile(rb"^apiVersion:.*^kind:|^kind:.*^apiVersion:", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file seems to be."""

    cls: Class
    doubt: str | None = None
    """Why a person should look, None where the name or the content leaves no doubt."""
    format: str | None = None
    """Of weights."""
    is_licence: bool = False


def needs_head(path: str) -> bool:
    """Whether the name alone does not tell, so that `recognise` wants the first HEAD_SIZE bytes."""
    suffix = _suffix(_name(path))
    return suffix in ("bin", "yaml", "yml", "dat") or suffix not in (
        *WEIGHT_FORMATS,
        *_DATA_SUFFIXES,
        *_CODE_SUFFIXES,
        *_DOC_SUFFIXES,
        *_MEDIA_SUFFIXES,
        *_CONFIG_SUFFIXES,
    )


def is_weight_name(path: str) -> bool:
    """Whether the suffix is one of weights."""
    return _suffix(_name(path)) in WEIGHT_FORMATS


def recognise(path: str, head: bytes, *, weight_directories: Collection[str] = ()) -> Guess:
    """The class of a file; `weight_directories` are those that hold weights, whose small files belong to them."""
    name, suffix, hint = _name(path), _suffix(_name(path)), _hint(path)
    by_name = _by_name(name, suffix, hint)
    if by_name is not None:
        return by_name
    magic = _magic_format(head)
    if magic is not None:
        return Guess(Class.MODEL, format=magic)
    if suffix == "bin" and head.startswith(_TORCH_MAGIC):
        return Guess(Class.MODEL, format="pytorch")
    if suffix in WEIGHT_FORMATS:
        return _weights(suffix, hint)
    if suffix in _DATA_SUFFIXES:
        return Guess(Class.DATASETS)
    if suffix in ("yaml", "yml") and _KUBERNETES.search(head):
        return Guess(Class.DEPLOYMENT)
    if suffix in _BESIDE_WEIGHTS and path.rpartition("/")[0] in weight_directories and hint in (None, Class.MODEL):
        return Guess(Class.MODEL)
    if hint is not None:
        return Guess(hint)
    return _without_hint(suffix)


def _by_name(name: str, suffix: str, hint: Class | None) -> Guess | None:
    if suffix == "mcpb":
        return Guess(Class.MCPSERVERS)
    if _matches(name, _LICENCE_NAMES) and suffix not in _CODE_SUFFIXES:
        return Guess(Class.DOCS, is_licence=True)
    if _matches(name, _PROMPT_NAMES) or (hint is Class.PROMPTS and suffix in ("md", "txt", "yaml", "yml", "json")):
        return Guess(Class.PROMPTS)
    if _matches(name, _DOC_NAMES):
        return Guess(Class.DOCS)
    if _matches(name, _CODE_NAMES):
        return Guess(Class.CODE)
    if _matches(name, _PARAMETER_NAMES) and suffix in _CONFIG_SUFFIXES:
        return Guess(Class.PARAMETERS)
    if _matches(name, _DEPLOYMENT_NAMES) and suffix not in _CODE_SUFFIXES:
        return Guess(Class.DEPLOYMENT)
    if suffix in _CODE_SUFFIXES:
        return Guess(Class.CODE)
    if suffix in _DOC_SUFFIXES:
        return Guess(Class.DOCS)
    return None


def _weights(suffix: str, hint: Class | None) -> Guess:
    if suffix in ("bin", "pkl", "pickle", "joblib", "h5", "hdf5", "msgpack", "pb") and hint is Class.DATASETS:
        return Guess(Class.DATASETS, doubt="could be weights; it lies among the data")
    doubt = "could be anything; taken for weights" if suffix == "bin" else None
    return Guess(Class.MODEL, doubt=doubt, format=WEIGHT_FORMATS[suffix])


def _without_hint(suffix: str) -> Guess:
    if suffix in _ARCHIVE_SUFFIXES:
        return Guess(Class.DATASETS, doubt="is an archive; taken for a dataset")
    if suffix in _MEDIA_SUFFIXES:
        return Guess(Class.DOCS, doubt="is a picture or a recording; taken for documentation")
    if suffix in ("yaml", "yml", "toml"):
        return Guess(Class.PARAMETERS, doubt="is a configuration file; taken for parameters of the training")
    return Guess(Class.CODE, doubt="is of no known kind; taken for code")


def _magic_format(head: bytes) -> str | None:
    if head.startswith(b"GGUF"):
        return "gguf"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    # The length of the JSON header in eight bytes, little endian, then the header (safetensors, README, "Format").
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000:
        return "safetensors"
    return None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _hint(path: str) -> Class | None:
    """What the nearest directory with a telling name says."""
    directories = path.lower().split("/")[:-1]
    return next((_DIRECTORIES[name] for name in reversed(directories) if name in _DIRECTORIES), None)


def _name(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _suffix(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
