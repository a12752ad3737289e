"""The model of a Kitfile: which files are it, which are parts, and what they say about it. Nothing here does I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.archive.headers.facts import Facts
from mlkit.packing.model_configs import (
    Adapter,
    Shard,
    adapter_of,
    architecture_of,
    framework_of,
    quantization_of,
    shard_of,
)
from mlkit.packing.recognise import Guess
from mlkit.spec.media_types import Class

_PREFERRED = ("safetensors", "gguf", "onnx", "saved_model", "keras", "pytorch", "torchscript", "hdf5")
"""Of several formats of one model, the first of these: what runs no code before what may."""
_OF_LIBRARIES = frozenset({"safetensors", "pytorch", "hdf5", "flax", "tensorflow"})
"""Formats that the library loads whose config lies beside them; GGUF and ONNX have programs of their own."""
_PIPELINE = "model_index.json"
"""Of several models, none of which is the whole."""
_NOT_COUNTED = frozenset({"int16", "int32", "int64", "uint16", "uint32", "uint64", "bool", "complex64"})
_PACKED = frozenset({"int32", "uint32", "uint8"})
"""What quantisation methods pack several parameters into one number of."""
_GGUF_QUANTIZATION = re.compile(r"[-._](I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_0)(?:-\d{5}-of-\d{5})?\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """The model of a tree."""

    main: str
    """Path of its file of weights, the first of several shards; empty where no file is one."""
    format: str | None
    framework: str | None
    parameters: dict[str, Any]
    """What has no key of its own in a Kitfile, under the names of ModelPack where it has one."""
    adapter: Adapter | None
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Group:
    """The shards of a model, or its only file."""

    paths: list[str]
    size: int = 0
    missing: int = 0


def main_directory(guesses: Mapping[str, Guess], facts: Mapping[str, Facts], sizes: Mapping[str, int]) -> str | None:
    """Where the model's weights are; None where there are none."""
    group = _main(_groups(guesses, facts, sizes), guesses)
    return None if group is None else group.paths[0].rpartition("/")[0]


def describe(
    guesses: Mapping[str, Guess],
    facts: Mapping[str, Facts],
    sizes: Mapping[str, int],
    configs: Mapping[str, Mapping[str, Any]],
) -> Described:
    """`configs` are those beside the weights, by file name."""
    groups = _groups(guesses, facts, sizes)
    main = _main(groups, guesses)
    if main is None:
        return Described("", None, None, {}, adapter_of(configs), ())
    first = main.paths[0]
    directory = first.rpartition("/")[0]
    names = {path.rpartition("/")[2] for path in guesses if path.rpartition("/")[0] == directory} | set(configs)
    form = guesses[first].format
    own = [facts[path] for path in main.paths if path in facts]
    adapter = adapter_of(configs)
    return Described(
        main=first,
        format=form,
        framework=(framework_of(names, configs) if form in _OF_LIBRARIES else None)
        or _first(fact.framework for fact in own),
        parameters=_parameters(first, main, own, configs, adapter),
        adapter=adapter,
        notes=tuple(_notes(main, [main] if _PIPELINE in configs else groups, guesses)),
    )


def _groups(guesses: Mapping[str, Guess], facts: Mapping[str, Facts], sizes: Mapping[str, int]) -> list[_Group]:
    """Everything that could be the model, shards together; what is a part by its nature only where nothing else is."""
    weights = [path for path, guess in guesses.items() if guess.cls is Class.MODEL and guess.format is not None]
    whole = [path for path in weights if guesses[path].type is None and not (path in facts and facts[path].kind)]
    shards: dict[str, list[tuple[Shard, str]]] = {}
    directories: dict[str, list[str]] = {}
    found: list[_Group] = []
    for path in whole or weights:
        shard, directory = shard_of(path), guesses[path].whole
        if directory is not None:
            directories.setdefault(directory, []).append(path)
        elif shard is None:
            found.append(_Group([path], sizes.get(path, 0)))
        else:
            shards.setdefault(shard.group, []).append((shard, path))
    for members in shards.values():
        members.sort(key=lambda member: member[0].number)
        paths = [path for _, path in members]
        missing = members[0][0].count - len(paths)
        found.append(_Group(paths, sum(sizes.get(path, 0) for path in paths), missing))
    for paths in directories.values():
        paths.sort(key=lambda path: (not path.endswith(("/saved_model.pb", "/MLmodel")), path))
        found.append(_Group(paths, sum(sizes.get(path, 0) for path in paths)))
    return found


def _main(groups: Sequence[_Group], guesses: Mapping[str, Guess]) -> _Group | None:
    """The largest; among those of about its size, which are the same model in other formats, the best format."""
    largest = max((group.size for group in groups), default=0)
    rivals = [group for group in groups if 3 * group.size >= largest]

    def order(group: _Group) -> tuple[int, int, int, str]:
        form = guesses[group.paths[0]].format or ""
        rank = _PREFERRED.index(form) if form in _PREFERRED else len(_PREFERRED)
        return rank, -group.size, group.paths[0].count("/"), group.paths[0]

    return min(rivals, key=order, default=None)


def _parameters(
    first: str, main: _Group, facts: Sequence[Facts], configs: Mapping[str, Mapping[str, Any]], adapter: Adapter | None
) -> dict[str, Any]:
    elements: Counter[str] = Counter()
    for fact in facts:
        elements.update(fact.elements)
    quantization = quantization_of(configs) or _first(fact.quantization for fact in facts)
    named = _GGUF_QUANTIZATION.search(first)
    if named is not None and quantization in (None, "quantized"):
        quantization = named[1].upper()
    counted = {name: count for name, count in elements.items() if name not in _NOT_COUNTED and count}
    total = sum(counted.values())
    is_whole = (
        not main.missing
        and _PIPELINE not in configs
        and len(facts) == len(main.paths)
        and all(fact.elements for fact in facts)
    )
    # Where several parameters are packed into one number, the numbers are not the parameters.
    packed = sum(count for name, count in elements.items() if name in _PACKED)
    is_packed = packed * 20 > sum(elements.values())
    found = {
        "architecture": architecture_of(configs) or _first(fact.architecture for fact in facts),
        "parameterCount": total if is_whole and total and total < 2**63 and not is_packed else None,
        "precision": _precision(counted) if not is_packed else None,
        "quantization": quantization,
    }
    if adapter is not None:
        about = {"type": adapter.type, "rank": adapter.rank, "alpha": adapter.alpha}
        found["adapter"] = {key: value for key, value in about.items() if value is not None}
    return {key: value for key, value in found.items() if value}


def _precision(counted: Mapping[str, int]) -> str | None:
    """What nine numbers of ten have, else `mixed`; none where numbers of a quantised model have no width."""
    if not counted or "quantized" in counted:
        return None
    most = max(sorted(counted), key=lambda name: counted[name])
    return most if counted[most] * 10 >= sum(counted.values()) * 9 else "mixed"


def _notes(main: _Group, groups: Sequence[_Group], guesses: Mapping[str, Guess]) -> list[str]:
    notes = [
        f"{group.paths[0]}: {group.missing} of {group.missing + len(group.paths)} shards are not there"
        for group in groups
        if group.missing
    ]
    forms = {guesses[group.paths[0]].format for group in groups}
    if len(groups) > 1:
        others = sorted(group.paths[0] for group in groups if group is not main)
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        kind = "several formats" if len(forms) > 1 else "several files"
        notes.append(f"there are weights in {kind}: {main.paths[0]} is taken for the model, {shown} for parts of it")
    return notes


def _first(values: Any) -> Any:
    return next((value for value in values if value), None)
