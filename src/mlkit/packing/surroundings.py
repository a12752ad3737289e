"""What the other files of a tree say about one. Nothing here does I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from mlkit.packing.file_names import DIRECTORIES, MEDIA_SUFFIXES
from mlkit.spec.media_types import Class
from mlkit.spec.weight_formats import WEIGHT_FORMATS

MANY_MEDIA = 10
"""Pictures or recordings in one directory of the root that are no illustrations any more."""

_TF_DATA = re.compile(r".+\.data-\d{5}-of-\d{5}")
_CONFIG_GROUPS = frozenset({"conf", "configs", "hydra"})
_SAVED_MODEL = {"saved_model.pb": "saved_model", "saved_model.pbtxt": "saved_model", "mlmodel": "mlflow"}
# TF SavedModel, "The SavedModel format on disk"; other files in its directory are not part of it.
_SAVED_MODEL_PARTS = re.compile(r"(?:variables|assets|assets\.extra)/.+|[a-z_]+\.pb(?:txt)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Directories, each as a path without a slash at its end; the root is empty."""

    weights: Set[str] = frozenset()
    """Those that hold weights, whose small files belong to them."""
    near_weights: Set[str] = frozenset()
    """Those, and the ones above each: a pipeline keeps its configs beside the directories of its weights."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Those that are a model as a whole, with its format."""
    skills: Set[str] = frozenset()
    """Those that are an agent's skill as a whole."""
    media: Set[str] = frozenset()
    """Those whose pictures and recordings are data."""

    def whole_model(self, path: str) -> tuple[str, str] | None:
        """The directory that `path` is a file of and that is a model as a whole, and its format."""
        for directory in above(path) if self.models else ():
            form = self.models.get(directory)
            rest = path.removeprefix(f"{directory}/") if directory else path
            if form is not None and (form != "saved_model" or _SAVED_MODEL_PARTS.fullmatch(rest)):
                return directory, form
        return None

    def in_skill(self, path: str) -> bool:
        """Whether `path` is a file of a skill."""
        return any(directory in self.skills for directory in above(path))


def survey(paths: Iterable[str]) -> Surroundings:
    """What the names in a tree say of its directories."""
    weights: set[str] = set()
    models: dict[str, str] = {}
    skills: set[str] = set()
    media: Counter[str] = Counter()
    media_directories: set[str] = set()
    for path in paths:
        directory, _, name = path.rpartition("/")
        name = name.lower()
        suffix = name.rpartition(".")[2] if "." in name else ""
        if suffix in WEIGHT_FORMATS or _TF_DATA.fullmatch(name):
            weights.add(directory)
        # At the root it would make everything part of the model.
        if name in _SAVED_MODEL and (directory or _SAVED_MODEL[name] == "saved_model"):
            models[directory] = _SAVED_MODEL[name]
        package = re.match(r"(.+?\.mlpackage)/", path)
        if package is not None:
            models[package[1]] = "coreml"
        if name == "skill.md" and directory:
            skills.add(directory)
        if suffix in MEDIA_SUFFIXES:
            media[path.partition("/")[0] if directory else ""] += 1
            media_directories.add(directory)
    many = {top for top, count in media.items() if count >= MANY_MEDIA}
    # With those above them: what names the classes lies beside their directories.
    data = {place for directory in media_directories for place in (directory, *above(directory))}
    data = {directory for directory in data if directory.partition("/")[0] in many}
    near = weights | {directory.rpartition("/")[0] for directory in weights}
    return Surroundings(frozenset(weights), frozenset(near), models, frozenset(skills), frozenset(data))


def directory_hint(path: str) -> Class | None:
    """What the nearest directory with a telling name says of a file in it."""
    directories = path.lower().split("/")[:-1]
    # Groups of configs (hydra, "Config groups") are called data, model and train.
    if not _CONFIG_GROUPS.isdisjoint(directories):
        return Class.PARAMETERS
    return next((DIRECTORIES[name] for name in reversed(directories) if name in DIRECTORIES), None)


def above(path: str) -> Iterable[str]:
    """The directories that hold `path`, the nearest first; the root, which is empty, last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
