"""What a thing came from: the walk along the links, best founded first, as `spread` is against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlkit.lineage.graph import EdgeKind, Standing, weakest
from mlkit.lineage.reading import Reader
from mlkit.lineage.spread import THING_LIMIT, Frontier, Spread, Visit
from mlkit.spec.media_types import Class

_FILES = 1000  # of the datasets of one kit that are shown one by one
_SAME = "the same bytes"


def trace(reader: Reader, seeds: Iterable[int], *, limit: int = THING_LIMIT) -> Spread:
    """Everything that the `seeds` came from, as far as it was ever stated, with the datasets that kits hold."""
    walk = Frontier(limit)
    for number in seeds:
        walk.offer(number, Visit(Standing.PROVED, 0, None, None))
    for level in walk.levels():
        _expand(reader, walk, level)
    return walk.spread


def _expand(reader: Reader, walk: Frontier, level: Mapping[int, Visit]) -> None:
    for row in reader.back(level, contents=False):
        if row.kind is EdgeKind.PROMOTED:
            continue
        before = level[row.made]
        walk.offer(row.origin, Visit(weakest((before.standing, row.standing)), before.depth + 1, row, row.made))
    nodes = reader.nodes(level)
    kits = reader.kits(level)
    for row in reader.contents(kits, Class.DATASETS.value, _FILES):
        before = level[row.made]
        walk.offer(row.origin, Visit(weakest((before.standing, row.standing)), before.depth, row, row.made))
    # Bytes that were named, or are held as a dataset, may lie in a kit that says where they come from.
    contents = [number for number, visit in level.items() if number not in kits and visit.row is not None]
    rows = [row for row in reader.onward(contents) if row.kind is EdgeKind.CONTAINS]
    holders = reader.kits({row.made for row in rows})
    for row in rows:
        before = level[row.origin]
        is_held = before.row is not None and before.row.kind is EdgeKind.CONTAINS
        if row.made in holders and not (is_held and holders[row.made].has_model):
            visit = Visit(Standing.INFERRED, before.depth + 1, row, row.origin, _SAME, Standing.INFERRED)
            walk.offer(row.made, visit)
    for number, kit in reader.meant({number: nodes[number].key for number in level if number in nodes}).items():
        before = level[number]
        note = "named without a digest: the tag may have pointed elsewhere"
        walk.offer(kit, Visit(Standing.INFERRED, before.depth, None, number, note))
