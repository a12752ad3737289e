"""What came of a thing: the walk against the links, best founded first.

Everything that is proved is reached by proofs before what is stated is looked at, and all of that before what is only
inferred; so each thing is met once, at the best standing that any chain gives it. Circles end where they began, and a
chain may be as long as it likes: nothing here calls itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from mlkit.lineage.facts import MODEL_CONFIG
from mlkit.lineage.graph import EdgeKind, Standing, weakest
from mlkit.lineage.reading import Reader, Row
from mlkit.spec.media_types import Class

THING_LIMIT: Final = 100_000
"""Things that one answer is made of; some 80 MiB."""

_MODEL: Final = Class.MODEL.value
_DATASETS: Final = Class.DATASETS.value
_INPUTS = frozenset({EdgeKind.USES, EdgeKind.BASE_MODEL, EdgeKind.DERIVED, EdgeKind.PRODUCES})


@dataclass(frozen=True, slots=True)
class Visit:
    """A thing that was reached."""

    standing: Standing
    depth: int
    """Kits on the way to it, itself included."""
    row: Row | None
    """The last link; None for what was asked about."""
    origin: int | None
    """The thing before it on the way."""
    note: str | None = None
    """What the step is, where no link is it."""
    own: Standing | None = None
    """Of the last step alone, where it is not that of its link."""


@dataclass(slots=True)
class Spread:
    """All that was reached."""

    visits: dict[int, Visit] = field(default_factory=dict)
    is_cut: bool = False
    """There was more than a limit allows."""

    def ways(self, numbers: Iterable[int], ends: int) -> dict[int, tuple[tuple[int, ...], int]]:
        """From what was asked about to each of these: its first and last `ends` things, and how many lie between."""
        lengths: dict[int, int] = {}
        heads: dict[int, tuple[int, ...]] = {}
        # In the order in which they were reached: what lies before a thing on its way was there first.
        for number, visit in self.visits.items():
            before = visit.origin
            lengths[number] = 1 if before is None else lengths[before] + 1
            head = () if before is None else heads[before]
            heads[number] = (*head, number) if len(head) < ends else head
        found: dict[int, tuple[tuple[int, ...], int]] = {}
        for number in numbers:
            tail: list[int] = []
            at: int | None = number
            for _ in range(min(ends, lengths[number] - len(heads[number]))):
                assert at is not None  # there are as many things before it
                tail.append(at)
                at = self.visits[at].origin
            found[number] = ((*heads[number], *reversed(tail)), lengths[number] - len(heads[number]) - len(tail))
        return found


def spread(
    reader: Reader,
    seeds: Mapping[int, Standing],
    *,
    names_of: Callable[[Iterable[int]], Mapping[int, tuple[int, ...]]] = lambda _: {},
    limit: int = THING_LIMIT,
) -> Spread:
    """Everything that came of the `seeds`, or holds them; for each, the standing with which it is what was asked about.

    `names_of` gives, for kits, the things that stand for names of theirs which others used without a digest.
    """
    walk = _Walk(reader, names_of, limit)
    for number, standing in seeds.items():
        walk.offer(number, Visit(standing, 0, None, None))
    for level in walk.levels():
        walk.expand(level)
    return walk.spread


class Frontier:
    """What was reached and is still to be looked behind: the best founded first, and of these the nearest."""

    def __init__(self, limit: int) -> None:
        self.spread = Spread()
        self._limit = limit
        self._waiting: dict[Standing, dict[int, Visit]] = {standing: {} for standing in Standing}

    def offer(self, number: int, visit: Visit) -> None:
        """A way to a thing: taken unless there is one that is as well founded."""
        if number in self.spread.visits:
            return
        for standing in Standing:
            if standing.rank <= visit.standing.rank and number in self._waiting[standing]:
                return
        self._waiting[visit.standing][number] = visit

    def levels(self) -> Iterator[Mapping[int, Visit]]:
        """What is to be looked behind next, until there is nothing; what is offered meanwhile comes later."""
        for standing in Standing:
            while self._waiting[standing]:
                waiting, self._waiting[standing] = self._waiting[standing], {}
                new = {number: visit for number, visit in waiting.items() if number not in self.spread.visits}
                room = self._limit - len(self.spread.visits)
                if len(new) > room:
                    self.spread.is_cut = True
                    new = dict(islice(new.items(), room))
                self.spread.visits |= new
                if new:
                    yield new


class _Walk(Frontier):
    def __init__(
        self, reader: Reader, names_of: Callable[[Iterable[int]], Mapping[int, tuple[int, ...]]], limit: int
    ) -> None:
        super().__init__(limit)
        self._reader = reader
        self._names_of = names_of

    def expand(self, level: Mapping[int, Visit]) -> None:
        for row in self._reader.onward(level):
            before = level[row.origin]
            if row.kind is EdgeKind.PROMOTED:
                continue  # a channel that pointed at a kit is not made of it
            standing, note = row.standing, None
            if row.kind is EdgeKind.CONTAINS and _is_output(before):
                # Nobody says that these bytes came from there.
                standing, note = Standing.INFERRED, "the same bytes"
            worth = weakest((before.standing, standing))
            self.offer(row.made, Visit(worth, before.depth + 1, row, row.origin, note, standing))
        reached = self._reader.kits(level)
        self._expand_contents({number: level[number] for number in reached})
        for kit, named in self._names_of(level).items():
            before = level[kit]
            for number in named:
                note = "named without a digest: the tag may have pointed elsewhere"
                self.offer(number, Visit(Standing.INFERRED, before.depth, None, kit, note))

    def _expand_contents(self, kits: Mapping[int, Visit]) -> None:
        """What a kit brought forth is in it, and whoever has the same bytes has them from there, or from where it has.

        A kit that holds a dataset made its model with it, and not its other datasets.
        """
        both = {number for number, visit in kits.items() if visit.row is None or visit.row.kind in _INPUTS}
        found = self._reader.shared(kits, (_MODEL, _DATASETS))
        rows = [row for row in found if row.role == _MODEL or row.made in both]
        inherited = self._inherited(rows)
        for row in rows:
            if (row.made, row.origin) not in inherited:
                before = kits[row.made]
                standing = weakest((before.standing, row.standing))
                self.offer(row.origin, Visit(standing, before.depth, row, row.made))

    def _inherited(self, rows: list[Row]) -> set[tuple[int, int]]:
        """Contents that a kit has from the one that it was trained further from: these are none of its own."""
        models = [row for row in rows if row.role in (_MODEL, MODEL_CONFIG)]
        bases: dict[int, list[int]] = {}
        for row in self._reader.back({row.made for row in models}, contents=False):
            if row.kind is EdgeKind.BASE_MODEL:
                bases.setdefault(row.made, []).append(row.origin)
        found: set[tuple[int, int]] = set()
        for kit, origins in bases.items():
            own = {row.origin for row in models if row.made == kit}
            held = self._reader.holdings(origins, own) | (own & set(origins))
            found.update((kit, content) for content in held)
        return found


def _is_output(visit: Visit) -> bool:
    """Whether a thing is known as the content of a kit on the way, and not as what was asked about."""
    row = visit.row
    return row is not None and row.kind is EdgeKind.CONTAINS and visit.origin == row.made
