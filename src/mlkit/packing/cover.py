"""The fewest paths that cover the files of a tree, each with one class. Nothing here does I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mlkit.packing.surroundings import above
from mlkit.spec.media_types import Class

_MANY = {Class.CODE: 12, Class.MODEL: 200}
"""Entries of a class in one directory that are listed one by one; more of them become one: all else that is there."""
_MANY_OF_OTHERS = 40


@dataclass(slots=True)
class _Node:
    """A directory on its way to becoming one entry, or not."""

    classes: set[Class] = field(default_factory=set)
    children: dict[str, _Node] = field(default_factory=dict)
    cls: Class | None = None
    """Of a file."""
    is_open: bool = False
    """It holds something that is to be left out, so that it cannot be an entry."""


def cover(classes: Mapping[str, Class], left_out: Collection[str] = ()) -> dict[str, Class]:
    """Entries for these files; none covers one that is `left_out`. An outer entry is what inner ones do not name."""
    root = _Node()
    for path, cls in classes.items():
        _place(root, path, cls)
    for path in left_out:
        _open(root, path)
    return dict(_covered(root, ""))


def coarser(classes: Mapping[str, Class]) -> dict[str, Class]:
    """One entry for each directory of the root, of the class that most of its files have."""
    votes: dict[str, Counter[Class]] = {}
    for path, cls in classes.items():
        votes.setdefault(path.partition("/")[0], Counter())[cls] += 1
    return cover({path: classes.get(path) or _of_directory(counted) for path, counted in votes.items()})


def coarsest(classes: Mapping[str, Class]) -> dict[str, Class]:
    """One entry for everything."""
    return {".": _of_directory(Counter(classes.values()))}


def _of_directory(counts: Counter[Class]) -> Class:
    most = _most(counts)
    return Class.CODE if most is Class.MCPSERVERS else most


def _place(root: _Node, path: str, cls: Class) -> None:
    node = root
    for component in path.split("/"):
        node.classes.add(cls)
        node = node.children.setdefault(component, _Node())
    node.cls = cls
    node.classes.add(cls)


def _open(root: _Node, path: str) -> None:
    node = root
    for component in path.split("/"):
        node.is_open = True
        if component not in node.children:
            return
        node = node.children[component]


def _covered(node: _Node, path: str) -> list[tuple[str, Class]]:
    # A bundle of MCP is one file (KitOps, "mcpServers"), so a directory of them is not an entry. The root itself stays
    # open: tomorrow another kind of file may lie there.
    is_pure = len(node.classes) == 1 and Class.MCPSERVERS not in node.classes and path != "" and not node.is_open
    if node.cls is not None or is_pure:
        return [(path, next(iter(node.classes)))]
    prefix = f"{path}/" if path else ""
    found = [item for name, child in sorted(node.children.items()) for item in _covered(child, prefix + name)]
    counts: Counter[Class] = Counter(cls for _, cls in found if cls is not Class.MCPSERVERS)
    if node.is_open or not counts:
        return found
    most = _most(counts)
    if counts[most] <= _MANY.get(most, _MANY_OF_OTHERS):
        return found
    others = {inner for inner, cls in found if cls is not most}
    kept = [(inner, cls) for inner, cls in found if cls is not most or any(place in others for place in above(inner))]
    return [(path or ".", most), *kept]


def _most(counts: Counter[Class]) -> Class:
    order = list(Class)
    return max(counts, key=lambda cls: (cls is not Class.MCPSERVERS, counts[cls], -order.index(cls)))
