"""A Kitfile for what lies in a directory, as a beginning that a person corrects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.archive.walk import SourceFile, walk
from mlkit.errors import UsageError
from mlkit.packing.cards import Card, parse_card
from mlkit.packing.cover import coarser, coarsest, cover
from mlkit.packing.describe import Described, describe, main_directory
from mlkit.packing.licences import licence_of, spdx_of
from mlkit.packing.look import Seen, look, read_config, read_text
from mlkit.packing.model_configs import CONFIG_LIMIT, CONFIG_NAMES, INDEX_LIMIT, indexed_files, shard_of
from mlkit.packing.origins import Origins, origins
from mlkit.packing.recognise import recognise_directory
from mlkit.packing.scan import Ignoring, read_rules
from mlkit.packing.surroundings import above
from mlkit.spec.json_text import render_json
from mlkit.spec.kitfile import Kitfile, parse_kitfile, render_kitfile
from mlkit.spec.media_types import Class
from mlkit.spec.weight_formats import RUNS_CODE, WEIGHT_FORMATS
from mlkit.spec.yaml_text import TEXT_LIMIT

_SHOWN = 10
"""Paths named in one note."""
_TOLD = 3
"""Files of one entry that a note names one by one."""
_ENTRIES = 1000
"""Entries of a Kitfile; nobody corrects a longer one."""
_SIZE = TEXT_LIMIT // 2
"""Bytes of its JSON, half of what a Kitfile may have: YAML of the same has more spaces and escapes."""
_CARDS = ("readme.md", "model_card.md", "modelcard.md")
_NAMED = {
    Class.DATASETS: "datasets",
    Class.PARAMETERS: "parameters",
    Class.DEPLOYMENT: "deployment",
    Class.PROMPTS: "prompts",
    Class.MCPSERVERS: "mcpServers",
}
_UNNAMED = {Class.CODE: "code", Class.DOCS: "docs"}


@dataclass(frozen=True, slots=True)
class GeneratedKitfile:
    """A Kitfile that nobody wrote yet."""

    kitfile: Kitfile
    text: str
    notes: tuple[str, ...]
    """What it is unsure of, and what it left out: sentences."""
    swept: tuple[str, ...] = ()
    """Files with credentials that lie in an entry all the same: there were too many files to list."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """All that is known before a line is written."""

    seen: Seen
    model: Described
    origins: Origins
    license: str | None


def generate_kitfile(
    directory: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    description: str | None = None,
    author: str | None = None,
    depth: int | None = None,
) -> GeneratedKitfile:
    """Recognise weights, data, parameters, deployment files, code, prompts and documents; nothing is written.

    A directory in which everything is of one class becomes one entry. `depth` is how many directories below this one
    are looked into, all where it is None; deeper ones are judged by their name. The same tree gives the same text.
    Raises: UsageError for a negative depth; what `walk`, `read_rules` and `look` raise.
    """
    if depth is not None and depth < 0:
        raise UsageError(f"a depth of {depth} is less than none (expected 0 or more)")
    ignoring = Ignoring(read_rules(directory, default_ignore=True))
    seen = _looked(directory, ignoring, depth)
    tree = _known(seen)
    package = _present(
        name=name,
        version=version,
        description=description,
        license=tree.license,
        authors=[author] if author else None,
    )
    value = {"manifestVersion": "1.0.0", **({"package": package} if package else {})}
    kinds = _entries(seen)
    raw = render_json({**value, **_sections(kinds, tree, name=name)})
    if len(raw) > _SIZE:
        kinds = coarsest(_classes(seen))
        raw = render_json({**value, **_sections(kinds, tree, name=name)})
    kitfile = parse_kitfile(raw)
    swept = tuple(sorted(path for path in (*seen.credentials, *seen.tokens) if _is_swept(path, kinds)))
    return GeneratedKitfile(kitfile, render_kitfile(kitfile), tuple(_notes(tree, kinds, ignoring.secrets)), swept)


def _classes(seen: Seen) -> dict[str, Class]:
    return {path: guess.cls for path, guess in seen.guesses.items()}


def _entries(seen: Seen) -> dict[str, Class]:
    """Paths of entries: as few as say what is what, and fewer where that are too many."""
    classes = _classes(seen)
    for kinds in (cover(classes, (*seen.credentials, *seen.tokens, *seen.half_done)), coarser(classes)):
        if len(kinds) <= _ENTRIES:
            return kinds
    return coarsest(classes)


def _looked(directory: Path, ignoring: Ignoring, depth: int | None) -> Seen:
    deeper: set[str] = set()

    def enters(path: str) -> bool:
        if depth is None or path.count("/") <= depth:
            return True
        if not ignoring.skip(path, False):
            deeper.add(path.rpartition("/")[0])
        return False

    seen = look(found for found in walk(directory, skip=ignoring.skip, enters=enters) if isinstance(found, SourceFile))
    seen.guesses.update({path: recognise_directory(path) for path in deeper})
    seen.guesses = dict(sorted(seen.guesses.items()))
    return seen


def _known(seen: Seen) -> _Tree:
    sizes = {path: file.size for path, file in seen.files.items()}
    beside = main_directory(seen.guesses, seen.facts, sizes)
    configs: dict[str, Mapping[str, Any]] = {}
    place = ""
    if beside is not None:
        # A pipeline of diffusers keeps its config above the weights.
        found = [
            (name, place) for name in CONFIG_NAMES for place in _near(beside) if _is_file(seen, _join(place, name))
        ]
        for name, place in found:
            configs.setdefault(name, read_config(seen, _join(place, name), limit=CONFIG_LIMIT))
        place = beside
    _check_indexes(seen)
    card = _card(seen, place)
    model = describe(seen.guesses, seen.facts, sizes, configs)
    bases = sorted({url for fact in seen.facts.values() for url in fact.bases})
    directories = {directory for path in seen.files for directory in above(path) if directory}
    config = _join(place, "adapter_config.json")
    made_from = origins(model.adapter, card, bases, config=config, directories=directories)
    return _Tree(seen, model, made_from, _licence(seen, card, model))


def _is_file(seen: Seen, path: str) -> bool:
    """Whether it is one that may be read: no credential, and no directory that was not looked into."""
    return path in seen.guesses and path in seen.files


def _near(directory: str) -> tuple[str, ...]:
    return (directory, directory.rpartition("/")[0]) if directory else ("",)


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _check_indexes(seen: Seen) -> None:
    """An index names every shard, so it tells which of them are not there."""
    for path in [path for path, guess in seen.guesses.items() if guess.type == "index"]:
        directory = path.rpartition("/")[0]
        named = indexed_files(read_config(seen, path, limit=INDEX_LIMIT))
        missing = sorted(name for name in named if _join(directory, name) not in seen.files)
        # Those that carry a number are missed by their number already.
        unnumbered = [name for name in missing if shard_of(name) is None]
        if missing and (unnumbered or len(missing) == len(named)):
            seen.problems.append((path, f"names files that are not there: {_listed(missing)}"))


def _card(seen: Seen, place: str) -> Card:
    """The card beside the weights, else the one of the project."""
    by_name = {path.lower(): path for path in seen.guesses if _is_file(seen, path)}
    for directory in dict.fromkeys((place, "")):
        for name in _CARDS:
            path = by_name.get(_join(directory, name).lower())
            card = parse_card(read_text(seen.files[path])) if path else Card()
            if card != Card():
                return card
    return Card()


def _licence(seen: Seen, card: Card, model: Described) -> str | None:
    """What the licence nearest to the root says, else the model card, else the header of the weights."""
    licences = [path for path, guess in seen.guesses.items() if guess.is_licence]
    for path in sorted(licences, key=lambda path: (path.count("/"), path)):
        found = licence_of(read_text(seen.files[path]))
        if found is not None:
            return found
    if card.license is not None:
        named = spdx_of(card.license)
        if named is None:
            seen.problems.append(("the model card", f"names the licence {card.license!a}, which is no SPDX identifier"))
        return named
    header = seen.facts.get(model.main)
    return spdx_of(header.license) if header is not None and header.license else None


def _sections(kinds: Mapping[str, Class], tree: _Tree, *, name: str | None) -> dict[str, Any]:
    paths: dict[Class, list[str]] = {cls: [path for path, kind in kinds.items() if kind is cls] for cls in Class}
    sections: dict[str, Any] = {}
    if paths[Class.MODEL]:
        sections["model"] = _model(paths[Class.MODEL], tree, name=name)
    for cls, key in _NAMED.items():
        if paths[cls]:
            sections[key] = _named(paths[cls], fallback=str(cls))
    told = {path: guess.runtime for path, guess in tree.seen.guesses.items() if guess.runtime is not None}
    for path, entry in zip(paths[Class.DEPLOYMENT], sections.get("deployment", ()), strict=True):
        runtimes = {runtime for inner, runtime in told.items() if _covers(path, inner)}
        entry.update({"runtime": runtimes.pop()} if len(runtimes) == 1 else {})
    for cls, key in _UNNAMED.items():
        if paths[cls]:
            sections[key] = [{"path": _written(path)} for path in paths[cls]]
    if tree.origins.inputs:
        sections["inputs"] = tree.origins.inputs
    return sections


def _model(paths: list[str], tree: _Tree, *, name: str | None) -> dict[str, Any]:
    """The entry that holds the weights is the model, all others are its parts."""
    about = tree.model
    holding = [path for path in paths if about.main and _covers(path, about.main)]
    main = max(holding, key=len) if holding else paths[0]  # the innermost is what holds it
    model = _present(
        name=name or _stem(main, fallback="model"),
        path=_written(main),
        framework=about.framework,
        format=about.format,
        parameters=about.parameters,
    )
    parts = [path for path in paths if path != main]
    entries = _named(parts, fallback="part")
    for path, entry in zip(parts, entries, strict=True):
        guess = tree.seen.guesses.get(path)
        facts = tree.seen.facts.get(path)
        kind = (guess.type if guess else None) or (facts.kind if facts else None)
        shard = shard_of(path)
        if (
            kind is None
            and shard is not None
            and about.main
            and shard.group == getattr(shard_of(about.main), "group", "")
        ):
            kind = "shard"
        entry.update({"type": kind} if kind else {})
    return {**model, "parts": entries} if entries else model


def _named(paths: Sequence[str], *, fallback: str) -> list[dict[str, str]]:
    """Entries named after the last component of their path, or all of it where that is not enough."""
    stems = [_stem(path, fallback=fallback) for path in paths]
    return [
        {"name": stem if stems.count(stem) == 1 else path.replace("/", "-"), "path": _written(path)}
        for stem, path in zip(stems, paths, strict=True)
    ]


def _notes(tree: _Tree, kinds: Mapping[str, Class], secrets: set[str]) -> Iterator[str]:
    seen = tree.seen
    doubts: dict[str, list[str]] = {}
    for path, guess in seen.guesses.items():
        if guess.doubt is not None:
            doubts.setdefault(guess.doubt, []).append(path)
    for path, facts in seen.facts.items():
        if facts.problem is not None:
            doubts.setdefault(f"its header as {facts.format} is not read: {facts.problem}", []).append(path)
    for path, problem in seen.problems:
        doubts.setdefault(problem, []).append(path)
    yield from (f"{_listed(_gathered(paths, kinds))}: {doubt}" for doubt, paths in doubts.items())
    mixed = [path for path, guess in seen.guesses.items() if kinds[_innermost(path, kinds)] is not guess.cls]
    if mixed:
        yield f"{_listed(_gathered(mixed, kinds))}: too many files side by side to list; packed as what most there are"
    yield from tree.model.notes
    yield from tree.origins.notes
    if kinds.get(".") is not None:
        yield f"{kinds['.']} is everything that no other entry names"
    pickled = [path for path in seen.guesses if _may_run_code(seen, path)]
    if pickled:
        yield f"{_listed(pickled)}: may run code when loaded; safetensors and ONNX do not"
    yield from _secret_notes(
        seen.tokens,
        (),
        kinds,
        what="holds what looks like an access token",
        how="; if it is none, name it in the Kitfile",
    )
    yield from _secret_notes(
        seen.half_done, (), kinds, what="looks half done", how="; if it is whole, name it in the Kitfile"
    )
    yield from _secret_notes(seen.credentials, secrets, kinds, what="looks like a credential")
    if not kinds:
        yield "no file was found, so the Kitfile has no entries"


def _secret_notes(
    found: Sequence[str], ignored: Collection[str], kinds: Mapping[str, Class], *, what: str, how: str = ""
) -> Iterator[str]:
    swept = [path for path in found if _is_swept(path, kinds)]
    left_out = sorted({*ignored, *found} - set(swept))
    if left_out:
        yield f"{_listed(left_out)}: left out, {what}{how}"
    if swept:
        yield f"{_listed(swept)}: {what} and lies in an entry; name it in .kitignore"


def _is_swept(path: str, kinds: Mapping[str, Class]) -> bool:
    return any(_covers(entry, path) for entry in kinds)


def _may_run_code(seen: Seen, path: str) -> bool:
    guess = seen.guesses[path]
    by_name = WEIGHT_FORMATS.get(path.rpartition(".")[2].lower())
    form = by_name if guess.whole is not None else guess.format or by_name
    return guess.cls in (Class.MODEL, Class.PARAMETERS) and form in RUNS_CODE


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN])
    return shown if len(paths) <= _SHOWN else f"{shown} and {len(paths) - _SHOWN} more"


def _gathered(paths: Sequence[str], kinds: Mapping[str, Class]) -> list[str]:
    """Paths for one note: several below one entry as that entry with their number."""
    within: dict[str, list[str]] = {}
    for path in paths:
        entry = _innermost(path, kinds)
        within.setdefault(entry, []).append(path)
    found: list[str] = []
    for entry, held in within.items():
        # Files of an entry that is everything else have nothing in common.
        found.extend([f"{entry} ({len(held)} files)"] if entry != "." and len(held) > _TOLD else held)
    return found


def _innermost(path: str, kinds: Mapping[str, Class]) -> str:
    return next((place for place in (path, *above(path)) if place in kinds), ".")


def _written(path: str) -> str:
    """`path` for a Kitfile, where one that begins with ~ might be somebody's home."""
    return f"./{path}" if path.startswith("~") else path


def _covers(path: str, file: str) -> bool:
    return path in (".", file) or file.startswith(f"{path}/")


def _stem(path: str, *, fallback: str) -> str:
    name = path.rpartition("/")[2]
    return name.partition(".")[0] or name.lstrip(".") or fallback


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
