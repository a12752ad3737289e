"""What a kit is to a server: the models in it, in the forms that servers know. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlkit.serving.runtimes import FORMATS, Format
from mlkit.spec.kitfile import Kitfile
from mlkit.spec.media_types import Class

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_SHARD = re.compile(r".+-(?P<number>\d{5})-of-\d{5}\.gguf")
_SUFFIXES = {
    "gguf": "gguf",
    "onnx": "onnx",
    "engine": "tensorrt",
    "trt": "tensorrt",
    "plan": "tensorrt",
    "torchscript": "torchscript",
    "jit": "torchscript",
    "ubj": "xgboost",
    "bst": "xgboost",
    "cbm": "catboost",
    "joblib": "sklearn",
    "pkl": "sklearn",
    "pickle": "sklearn",
}
_DECLARED = {
    **{name: name for name in FORMATS},
    **dict.fromkeys(("joblib", "pickle", "pkl", "scikit-learn"), "sklearn"),
    "savedmodel": "saved_model",
}
"""What a Kitfile calls a format, and what a server does; for files whose suffix says nothing, such as `.json`."""
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file of a kit that may be a model, or part of one."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a kit that some server can read."""

    format: str
    """A name in FORMATS."""
    path: str
    """Of a file, or of the directory that is the model, within the kit; `.` is all of it."""
    size: int
    """Bytes of all that belongs to it."""

    @property
    def form(self) -> Format:
        return FORMATS[self.format]


@dataclass(frozen=True, slots=True)
class KitFacts:
    """What the choice of a runtime looks at."""

    name: str
    """What the model is called when it is served: letters, digits and `_.-`."""
    version: str | None
    models: tuple[Model, ...]
    """Those that the Kitfile puts first come first."""
    wanted: tuple[str, ...] = ()
    """`deployment[].runtime`, as the Kitfile spells them."""


def collect_facts(kitfile: Kitfile, files: Iterable[PackedFile]) -> KitFacts:
    """What is there to serve; `files` are those of the classes `model` and `deployment`."""
    listed = list(files)
    named = (kitfile.model.name if kitfile.model else None) or kitfile.package.name
    found = dict.fromkeys(_models(kitfile, listed))
    return KitFacts(
        name=served_name(named),
        version=kitfile.package.version,
        models=tuple(sorted(found, key=lambda model: _rank(kitfile, model))),
        wanted=tuple(entry.runtime for entry in kitfile.deployment if entry.runtime),
    )


def served_name(text: str | None) -> str:
    """A name that is safe in a URL, a command line and a directory."""
    return _NAME.sub("-", text or "").strip("-.") or "model"


def _models(kitfile: Kitfile, files: Sequence[PackedFile]) -> Iterator[Model]:
    paths = {file.path for file in files}
    for file in files:
        directory, _, name = file.path.rpartition("/")
        lower = name.lower()
        if lower == "config.json" and any(_is_weights_in(directory, path) for path in paths):
            yield Model("huggingface", directory or ".", _below(files, directory))
        elif lower == "model-settings.json":
            yield Model("mlserver", directory or ".", _below(files, directory))
        elif name == "MLmodel":
            yield Model("mlflow", directory or ".", _below(files, directory))
        elif lower == "config.pbtxt" and directory:
            above = directory.rpartition("/")[0]
            yield Model("triton-repository", above or ".", _below(files, above))
        elif lower in ("saved_model.pb", "saved_model.pbtxt"):
            yield Model("saved_model", directory or ".", _below(files, directory))
        else:
            form = _form_of(kitfile, file.path, lower)
            if form is not None:
                yield Model(form, file.path, file.size)


def _form_of(kitfile: Kitfile, path: str, name: str) -> str | None:
    if name.startswith("mmproj"):
        return None  # a projector is half a model
    shard = _SHARD.fullmatch(name)
    if shard is not None and shard["number"] != "00001":
        return None  # llama.cpp finds the others by the first
    known = _SUFFIXES.get(name.rpartition(".")[2]) if "." in name else None
    declared = kitfile.model.format if kitfile.model and kitfile.model.path == path else None
    if known is None and declared:
        form = _DECLARED.get(declared.strip().lower())
        return form if form is not None and not FORMATS[form].is_directory else None
    if known == "sklearn" and kitfile.model and kitfile.model.framework:
        return {"xgboost": "xgboost", "lightgbm": "lightgbm"}.get(kitfile.model.framework.strip().lower(), known)
    return known


def _is_weights_in(directory: str, path: str) -> bool:
    return path.rpartition("/")[0] == directory and path.lower().endswith(_WEIGHTS)


def _below(files: Sequence[PackedFile], directory: str) -> int:
    return sum(file.size for file in files if not directory or file.path.startswith(f"{directory}/"))


def _rank(kitfile: Kitfile, model: Model) -> tuple[int, bool, int, str]:
    main = kitfile.model.path if kitfile.model else None
    return list(FORMATS).index(model.format), model.path != main, -model.size, model.path


MODEL_CLASSES = frozenset({Class.MODEL, Class.DEPLOYMENT})
"""The classes whose files `collect_facts` looks at."""
