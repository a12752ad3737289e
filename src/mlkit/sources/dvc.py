"""What DVC knows of files: the md5 and size in `NAME.dvc` beside them, and in `dvc.lock` of a pipeline.

DVC, "`.dvc` files" and "dvc.lock file". The md5 of a directory ends in `.dir` and is that of a list of its files.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.sources.small_files import read_mapping
from mlkit.spec.yaml_text import Scalar

_LIMIT = 256 * 1024  # bytes of a file; what YAML may have
_MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
_CLIMB = 64  # directories above the project in which `.dvc` is looked for


@dataclass(frozen=True, slots=True)
class Tracked:
    """A file or directory that DVC tracks."""

    path: str
    """Relative to the project, posix; begins with `..` where it lies outside."""
    md5: str
    """32 hex digits; with `.dir` after them for a directory."""
    stage: str | None
    """The stage of the pipeline that reads it; None for what `dvc add` tracks and for what a stage wrote."""


def is_repository(directory: Path) -> bool:
    """Whether the directory, or one above it, is a project of DVC."""
    places = [directory, *list(directory.parents)[:_CLIMB]]
    return any((place / ".dvc").is_dir() for place in places)


def added(directory: Path, paths: Iterable[str]) -> Iterator[Tracked]:
    """What `dvc add` recorded of the `paths`, relative to `directory`, and of directories that hold them."""
    done: set[str] = set()
    for path in paths:
        while path not in done and path not in ("", ".", "/"):
            done.add(path)
            if os.path.lexists(directory / f"{path}.dvc"):
                yield from _outputs(directory, path)
            path = posixpath.dirname(path)


def pipeline(directory: Path, made: Iterable[str]) -> Iterator[Tracked]:
    """What the stages of `dvc.lock` read that led to the paths in `made`, at any distance."""
    stages = read_mapping(directory / "dvc.lock", limit=_LIMIT).get("stages")
    known = (
        {name: stage for name, stage in stages.items() if isinstance(stage, dict)} if isinstance(stages, dict) else {}
    )
    writers = [(name, path) for name, stage in known.items() for path, _ in _listed(stage, "outs", ".")]
    wanted, done = list(made), set[str]()
    while wanted:
        path = wanted.pop()
        for name, output in writers:
            if name in done or not _touch(path, output):
                continue
            done.add(name)
            for read, md5 in _listed(known[name], "deps", "."):
                wanted.append(read)
                yield Tracked(read, md5, name)


def _outputs(directory: Path, path: str) -> Iterator[Tracked]:
    said = read_mapping(directory / f"{path}.dvc", limit=_LIMIT)
    base = posixpath.dirname(path) or "."
    working = said.get("wdir")
    if isinstance(working, str):
        base = posixpath.normpath(posixpath.join(base, working))
    for found, md5 in _listed(said, "outs", base):
        yield Tracked(found, md5, None)


def _listed(stage: dict[str, Any], key: str, base: str) -> Iterator[tuple[str, str]]:
    items = stage.get(key)
    for item in items if isinstance(items, list) else ():
        path, md5 = (_text(item.get("path")), _text(item.get("md5"))) if isinstance(item, dict) else (None, None)
        if path and md5 and _MD5.fullmatch(md5) and not posixpath.isabs(path):
            yield posixpath.normpath(posixpath.join(base, path)), md5


def _text(value: Any) -> str | None:
    # An md5 of digits alone, or with one e among them, is a number to YAML.
    value = value.text if isinstance(value, Scalar) else value
    return value if isinstance(value, str) else None


def _touch(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")
