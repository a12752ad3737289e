"""The questions. Each is one snapshot of the index, and each answer says what it is about and what it cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from mlkit.lineage.answer import Answer, Comparison, Deployed, Gap, Hit, Scanned, Scope, Thing, Tree, Untold, moment
from mlkit.lineage.branches import branches
from mlkit.lineage.checks import deployments, untold
from mlkit.lineage.database import database_errors
from mlkit.lineage.describe import describe, hits
from mlkit.lineage.graph import EdgeKind, Node, NodeKind, Standing, unpinned
from mlkit.lineage.index import Index
from mlkit.lineage.reading import NAMED, Reader
from mlkit.lineage.schema import failures
from mlkit.lineage.spread import Spread, spread
from mlkit.lineage.trace import trace
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

HIT_LIMIT: Final = 10_000
"""Hits of one answer that are shown, unless more are asked for."""
_GAPS = 50  # of one kind that are shown one by one


@dataclass(frozen=True, slots=True)
class Subject:
    """What a question is about."""

    asked: str
    """As it was typed."""
    keys: Mapping[str, str | None]
    """Keys of things, each with the name of the file that it is of, where it is one."""


class Questions:
    """What an index can be asked, by somebody who trusts the keys with these ids."""

    def __init__(self, index: Index, *, keys: Iterable[str], now: Callable[[], float], name: str) -> None:
        self._index = index
        self._keys = tuple(sorted(keys))
        self._now = now
        self._name = name

    def trained_on(self, subject: Subject, *, limit: int = HIT_LIMIT) -> Answer:
        """The kits that came of something: what holds it, was trained with it, or with what was made of it."""
        with self.reading() as reader:
            seeds, gaps = self._seeds(reader, subject)
            found = spread(reader, seeds, names_of=self._names_of(reader))
            numbers = self._kits(reader, (number for number in found.visits if number not in seeds))
            ordered = self._ordered(reader, found, numbers)
            return Answer(
                question="trained-on",
                asked=subject.asked,
                subjects=self._subjects(reader, seeds, subject),
                hits=tuple(hits(reader, found, ordered[:limit], subject.keys)),
                scope=self.scope(),
                gaps=(*gaps, *self.gaps(reader)),
                is_cut=found.is_cut or len(ordered) > limit,
            )

    def inputs(self, subject: Subject, *, limit: int = HIT_LIMIT) -> Answer:
        """Everything that a kit came from, as far as anybody said."""
        with self.reading() as reader:
            seeds, gaps = self._seeds(reader, subject)
            found = trace(reader, seeds)
            numbers = [number for number in found.visits if number not in seeds]
            ordered = sorted(numbers, key=lambda one: (found.visits[one].depth, found.visits[one].standing.rank, one))
            shown = hits(reader, found, ordered[:limit], subject.keys)
            return Answer(
                question="inputs",
                asked=subject.asked,
                subjects=self._subjects(reader, seeds, subject),
                hits=tuple(shown),
                scope=self.scope(),
                gaps=(*gaps, *_loose_ends(shown), *self.gaps(reader)),
                is_cut=found.is_cut or len(ordered) > limit,
            )

    def tree(self, subject: Subject, *, depth: int, width: int) -> Tree:
        """What a thing came from, and what came of it, as branches."""
        with self.reading() as reader:
            seeds, gaps = self._seeds(reader, subject)
            origins, results = trace(reader, seeds), spread(reader, seeds, names_of=self._names_of(reader))
            subjects = self._subjects(reader, seeds, subject)
            return Tree(
                thing=subjects[0],
                origins=branches(reader, origins, depth=depth, width=width),
                results=branches(reader, results, depth=depth, width=width),
                scope=self.scope(),
                gaps=(*gaps, *self.gaps(reader)),
                is_cut=origins.is_cut or results.is_cut,
            )

    def deployed(self, subject: Subject) -> Deployed:
        """Which channels pointed at a kit, or at what came of a thing, and when."""
        with self.reading() as reader:
            seeds, gaps = self._seeds(reader, subject)
            found = spread(reader, seeds, names_of=self._names_of(reader))
            numbers = self._kits(reader, found.visits)
            ordered = self._ordered(reader, found, numbers)
            answer = Answer(
                question="deployed",
                asked=subject.asked,
                subjects=self._subjects(reader, seeds, subject),
                hits=tuple(hits(reader, found, ordered[:HIT_LIMIT], subject.keys)),
                scope=self.scope(),
                gaps=(*gaps, *self.gaps(reader)),
                is_cut=found.is_cut or len(ordered) > HIT_LIMIT,
            )
            return deployments(reader, answer, {number: found.visits[number].standing for number in numbers})

    def unprovenanced(self, *, limit: int = HIT_LIMIT) -> Untold:
        """The kits with a model that say nothing of where it came from, or for which nobody trusted stands."""
        with self.reading() as reader:
            count, shown = untold(reader, limit)
            return Untold(shown, count, self.scope(), tuple(self.gaps(reader)))

    def diff(self, before: Subject, after: Subject) -> Comparison:
        """What one kit came from and the other did not."""
        with self.reading() as reader:
            seeds = [self._seeds(reader, subject)[0] for subject in (before, after)]
            found = [trace(reader, some) for some in seeds]
            origins = [one.visits.keys() - some.keys() for one, some in zip(found, seeds, strict=True)]
            removed, added = sorted(origins[0] - origins[1]), sorted(origins[1] - origins[0])
            return Comparison(
                before=self._subjects(reader, seeds[0], before)[0],
                after=self._subjects(reader, seeds[1], after)[0],
                removed=tuple(hits(reader, found[0], removed[:HIT_LIMIT], {})),
                added=tuple(hits(reader, found[1], added[:HIT_LIMIT], {})),
                kept=len(origins[0] & origins[1]),
                scope=self.scope(),
                gaps=tuple(self.gaps(reader)),
            )

    def named(self, reference: Reference) -> Digest | None:
        """The kit that a reference meant when it was last seen; None where it never was."""
        with self.reading() as reader:
            is_local = reference.host is None
            tag = reference.local_name if is_local else reference.tag or "latest"
            number = reader.named(reference.name, tag, is_local=is_local)
            return None if number is None else reader.nodes([number])[number].digest

    def scope(self) -> Scope:
        """What the index holds, and since when."""
        counts = self._index.counts()
        return Scope(
            targets=tuple(
                Scanned(
                    target.name,
                    None if target.finished_at is None else moment(target.finished_at),
                    target.finished_at is not None and target.problem is None,
                    target.kits,
                    target.problem,
                    () if target.finished_at is None else tuple(key for key in self._keys if key not in target.keys),
                )
                for target in self._index.targets()
            ),
            kits=int(counts.get("kits", 0)),
            keys=self._keys,
            index=self._name,
            asked_at=moment(self._now()),
        )

    def gaps(self, reader: Reader) -> Iterator[Gap]:
        """What no scan could resolve, whatever is asked."""
        for target in self._index.targets():
            if target.problem is not None:
                yield Gap(target.name, f"not scanned whole: {target.problem}")
        failed = reader.rows(select(failures).order_by(failures.c.target, failures.c.what).limit(_GAPS + 1))
        for row in failed[:_GAPS]:
            yield Gap(row.what, row.problem)
        if len(failed) > _GAPS:
            yield Gap("more", f"more than {_GAPS} things could not be read; `mlkit lineage index` lists them")
        counts = self._index.counts()
        examples = counts.get("unread_examples", [])[:_GAPS]
        for key in examples:
            yield Gap(key, "a kit that is named as an input, and is in nothing that was scanned")
        for key in counts.get("unpinned_examples", [])[:_GAPS]:
            yield Gap(key.removeprefix(NAMED), "an input that is named without a digest, so that nobody knows which")
        more = int(counts.get("unread_kits", 0)) - len(examples)
        if more > 0:
            yield Gap(f"{more} more kits", "named as inputs, and in nothing that was scanned")
        closed = int(counts.get("closed_kits", 0))
        if closed:
            yield Gap(
                f"{closed} kits of other tools",
                "have archives whose files are known only by unpacking them; only their layers can be found",
            )

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A snapshot. Raises: StoreError, Corrupt."""
        with database_errors(self._index.engine.url), self._index.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield Reader(connection, self._keys)

    def _seeds(self, reader: Reader, subject: Subject) -> tuple[dict[int, Standing], list[Gap]]:
        """The things that are meant: themselves, their revisions and parts, and the kits in an index."""
        known = reader.ids(subject.keys)
        seeds = dict.fromkeys(known.values(), Standing.PROVED)
        for key in subject.keys:
            node = Node(key, NodeKind.URI)
            if node.digest is not None or key.startswith("md5:"):
                continue  # bytes have neither revisions nor parts, and a directory has a million of them
            for part in (*reader.below(f"{key}@"), *(reader.below(f"{key}/") if "://" in key else ())):
                seeds.setdefault(part, Standing.PROVED)
            without = unpinned(node)
            if without is not None:
                for number in reader.ids([without.key]).values():
                    seeds.setdefault(number, Standing.INFERRED)
        for row in reader.back(list(seeds), contents=True):
            # An index of kits is all of its kits; the bytes in a kit are another matter.
            if row.kind is EdgeKind.CONTAINS and row.role is None and row.origin not in seeds:
                seeds[row.origin] = Standing.PROVED
        gaps = []
        if not seeds:
            what = "none of its files" if len(subject.keys) > 1 else "it"
            gaps.append(Gap(subject.asked, f"nothing that was scanned names or holds {what}"))
        return seeds, gaps

    def _subjects(self, reader: Reader, seeds: Iterable[int], subject: Subject) -> tuple[Thing, ...]:
        found = describe(reader, list(seeds)[:_GAPS])
        present = {thing.key for thing in found.values()}
        absent = [Thing(key, NodeKind.URI) for key in list(subject.keys)[:_GAPS] if key not in present]
        return (*found.values(), *absent)

    def _kits(self, reader: Reader, numbers: Iterable[int]) -> list[int]:
        nodes = reader.nodes(numbers)
        return [number for number, node in nodes.items() if node.kind is NodeKind.KIT and node.digest is not None]

    def _ordered(self, reader: Reader, found: Spread, numbers: Sequence[int]) -> list[int]:
        rows = reader.kits(numbers)

        def order(number: int) -> tuple[int, bool, int, str, int]:
            visit, row = found.visits[number], rows.get(number)
            title = (row.title if row else None) or ""
            return visit.standing.rank, not (row and row.has_model), visit.depth, title, number

        return sorted(numbers, key=order)

    def _names_of(self, reader: Reader) -> Callable[[Iterable[int]], Mapping[int, tuple[int, ...]]]:
        """Things that stand for names of kits which somebody used without a digest."""
        if not reader.below(NAMED):
            return lambda _: {}

        def names_of(numbers: Iterable[int]) -> Mapping[int, tuple[int, ...]]:
            texts = {f"{NAMED}{name.text}": kit for kit, names in reader.names(numbers).items() for name in names}
            found: dict[int, tuple[int, ...]] = {}
            for key, number in reader.ids(texts).items():
                found[texts[key]] = (*found.get(texts[key], ()), number)
            return found

        return names_of


def _loose_ends(found: Iterable[Hit]) -> Iterator[Gap]:
    """Where a way back ends because nobody could go on."""
    for hit in found:
        if hit.thing.kind is NodeKind.KIT and hit.thing.has_model is None:
            yield Gap(hit.thing.key, "a kit that was never read: what it came from is not known")
        elif hit.thing.problem is not None:
            yield Gap(hit.thing.text, f"not read whole: {hit.thing.problem}")
