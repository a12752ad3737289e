"""What was reached, as a tree: each thing hangs on the one by which it was reached, and so stands there once."""

from __future__ import annotations

from mlkit.lineage.answer import Branch
from mlkit.lineage.describe import steps_of
from mlkit.lineage.reading import Reader
from mlkit.lineage.spread import Spread

_TOTAL = 2000  # things of one tree that are shown; more are no picture any more


def branches(reader: Reader, found: Spread, *, depth: int, width: int) -> tuple[Branch, ...]:
    """What hangs on the things that were asked about, `depth` levels of at most `width` things each."""
    below: dict[int, list[int]] = {}
    roots: list[int] = []
    for number, visit in found.visits.items():
        if visit.origin is None:
            roots.append(number)
        else:
            below.setdefault(visit.origin, []).append(number)
    shown: list[int] = []
    level = roots
    for _ in range(depth):
        level = [number for parent in level for number in below.get(parent, ())[:width]]
        level = level[: max(0, _TOTAL - len(shown))]
        shown += level
    steps = steps_of(reader, found, shown)
    # From the leaves up, and without calling itself: a chain may be long.
    built: dict[int, Branch] = {}
    for number in reversed(shown):
        following = below.get(number, ())
        kept = tuple(built[child] for child in following if child in built)
        built[number] = Branch(steps[number], kept, len(following) - len(kept))
    return tuple(built[child] for root in roots for child in below.get(root, ()) if child in built)
