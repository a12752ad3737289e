"""A Kitfile for what lies in a directory, as a beginning that a person corrects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlkit.archive.walk import SourceFile, walk
from mlkit.packing.licences import licence_of, licence_of_card
from mlkit.packing.recognise import HEAD_SIZE, RUNS_CODE, Guess, is_weight_name, needs_head, recognise
from mlkit.packing.scan import Ignoring, read_rules
from mlkit.packing.sources import open_source
from mlkit.spec.json_text import render_json
from mlkit.spec.kitfile import Kitfile, parse_kitfile, render_kitfile
from mlkit.spec.media_types import Class

_TEXT_LIMIT = 256 * 1024
"""Bytes of a licence or model card that are read; the longest common licence has 35,000."""
_CODE_ENTRIES = 12
"""Entries of code that are listed one by one; more of them become one entry that is everything else."""
_SHOWN = 10
"""Paths named in one note."""


@dataclass(frozen=True, slots=True)
class GeneratedKitfile:
    """A Kitfile that nobody wrote yet."""

    kitfile: Kitfile
    text: str
    notes: tuple[str, ...]
    """What it is unsure of, and what it left out: sentences."""


def generate_kitfile(
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    description: str | None = None,
    author: str | None = None,
) -> GeneratedKitfile:
    """Recognise weights, data, parameters, deployment files, code, prompts and documents; nothing is written.

    A directory in which everything is of one class becomes one entry. Raises: what `walk` and `read_rules` raise.
    """
    ignoring = Ignoring(read_rules(directory, default_ignore=True))
    files = [found for found in walk(directory, skip=ignoring.skip) if isinstance(found, SourceFile)]
    guesses = _recognised(files)
    kinds = _collapsed({path: guess.cls for path, guess in guesses.items()})
    notes = _notes(guesses, ignoring.secrets)
    code = [path for path, cls in kinds.items() if cls is Class.CODE]
    if len(code) > _CODE_ENTRIES:
        kinds = {**{path: cls for path, cls in kinds.items() if cls is not Class.CODE}, ".": Class.CODE}
        notes.append("code is everything that no other entry names")
    package = _present(
        name=name,
        version=version,
        description=description,
        license=_licence(files, guesses),
        authors=[author] if author else None,
    )
    value: dict[str, Any] = {"manifestVersion": "1.0.0", **({"package": package} if package else {})}
    value.update(_sections(kinds, guesses, {file.path: file.size for file in files}, name=name))
    kitfile = parse_kitfile(render_json(value))
    return GeneratedKitfile(kitfile, render_kitfile(kitfile), tuple(notes))


def _recognised(files: Sequence[SourceFile]) -> dict[str, Guess]:
    weight_directories = {file.path.rpartition("/")[0] for file in files if is_weight_name(file.path)}
    return {
        file.path: recognise(
            file.path,
            _head(file, HEAD_SIZE) if needs_head(file.path) else b"",
            weight_directories=weight_directories,
        )
        for file in files
    }


def _head(file: SourceFile, count: int) -> bytes:
    with open_source(file) as stream:
        return stream.read(count)


@dataclass(slots=True)
class _Node:
    """A directory on its way to becoming one entry, or not."""

    classes: set[Class] = field(default_factory=set)
    children: dict[str, _Node] = field(default_factory=dict)
    cls: Class | None = None
    """Of a file."""


def _collapsed(classes: dict[str, Class]) -> dict[str, Class]:
    """The fewest paths that cover files of one class each."""
    root = _Node()
    for path, cls in classes.items():
        node = root
        for component in path.split("/"):
            node.classes.add(cls)
            node = node.children.setdefault(component, _Node())
        node.cls = cls
        node.classes.add(cls)
    found: dict[str, Class] = {}
    # The root itself stays open: tomorrow another kind of file may lie there.
    pending = [(name, node) for name, node in sorted(root.children.items(), reverse=True)]
    while pending:
        path, node = pending.pop()
        # A bundle of MCP is one file (KitOps, "mcpServers"), so a directory of them is not an entry.
        if len(node.classes) == 1 and (node.cls is not None or Class.MCPSERVERS not in node.classes):
            found[path] = next(iter(node.classes))
        else:
            pending.extend((f"{path}/{name}", child) for name, child in sorted(node.children.items(), reverse=True))
    return found


def _sections(
    kinds: dict[str, Class], guesses: dict[str, Guess], sizes: dict[str, int], *, name: str | None
) -> dict[str, Any]:
    paths: dict[Class, list[str]] = {cls: [] for cls in Class}
    for path, cls in kinds.items():
        paths[cls].append(path)
    named = {
        "datasets": paths[Class.DATASETS],
        "parameters": paths[Class.PARAMETERS],
        "deployment": paths[Class.DEPLOYMENT],
        "prompts": paths[Class.PROMPTS],
        "mcpServers": paths[Class.MCPSERVERS],
    }
    plain = {"code": paths[Class.CODE], "docs": paths[Class.DOCS]}
    sections: dict[str, Any] = {}
    if paths[Class.MODEL]:
        sections["model"] = _model(paths[Class.MODEL], guesses, sizes, name=name)
    sections.update({section: _named(found) for section, found in named.items() if found})
    sections.update({section: [{"path": path} for path in found] for section, found in plain.items() if found})
    return sections


def _model(paths: list[str], guesses: dict[str, Guess], sizes: dict[str, int], *, name: str | None) -> dict[str, Any]:
    """The entry with the largest file of weights is the model, all others are its parts."""
    weights = [path for path, guess in guesses.items() if guess.cls is Class.MODEL and guess.format is not None]
    largest = max(weights, key=lambda path: (sizes[path], path), default=None)
    main = next((path for path in paths if largest is not None and _covers(path, largest)), paths[0])
    model = _present(
        name=name or _stem(main), path=main, format=guesses[largest].format if largest is not None else None
    )
    parts = _named([path for path in paths if path != main])
    return {**model, "parts": parts} if parts else model


def _named(paths: list[str]) -> list[dict[str, str]]:
    """Entries named after the last component of their path, or all of it where that is not enough."""
    stems = [_stem(path) for path in paths]
    return [
        {"name": stem if stems.count(stem) == 1 else path.replace("/", "-"), "path": path}
        for stem, path in zip(stems, paths, strict=True)
    ]


def _licence(files: Sequence[SourceFile], guesses: dict[str, Guess]) -> str | None:
    """What the licence nearest to the root says, else what the model card there says."""
    by_depth = sorted(files, key=lambda file: (file.path.count("/"), file.path))
    for file in by_depth:
        if guesses[file.path].is_licence:
            found = licence_of(_text(file))
            if found is not None:
                return found
    cards = (file for file in by_depth if file.path.lower() in ("readme.md", "model_card.md", "modelcard.md"))
    return next((found for file in cards if (found := licence_of_card(_text(file))) is not None), None)


def _notes(guesses: dict[str, Guess], secrets: set[str]) -> list[str]:
    doubts: dict[str, list[str]] = {}
    for path, guess in guesses.items():
        if guess.doubt is not None:
            doubts.setdefault(guess.doubt, []).append(path)
    notes = [f"{_listed(paths)}: {doubt}" for doubt, paths in doubts.items()]
    pickled = [path for path, guess in guesses.items() if guess.format in RUNS_CODE]
    if pickled:
        notes.append(f"{_listed(pickled)}: may run code when loaded; safetensors and ONNX do not")
    if secrets:
        notes.append(f"{_listed(sorted(secrets))}: left out, looks like a credential")
    if not guesses:
        notes.append("no file was found, so the Kitfile has no entries")
    return notes


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN])
    return shown if len(paths) <= _SHOWN else f"{shown} and {len(paths) - _SHOWN} more"


def _text(file: SourceFile) -> str:
    return _head(file, _TEXT_LIMIT).decode("utf-8", "replace")


def _covers(path: str, file: str) -> bool:
    return path in (".", file) or file.startswith(f"{path}/")


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.partition(".")[0] or name.lstrip(".")


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
