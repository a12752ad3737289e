"""Reading places into the index: many tags at once, in batches that stay when the scan is killed.

A place is anything with tags. What it cannot give is told and passed over; a place that is gone half way leaves what it
gave, and the scan says that it is partial. Nothing here knows registries or stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from mlkit.errors import (
    AuthError,
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
    NotFoundError,
    StoreError,
    UnsafeError,
)
from mlkit.lineage.facts import KitFacts, ReleaseFacts, StatementFacts
from mlkit.lineage.index import Index, TargetState
from mlkit.lineage.writing import Tagged, chunks
from mlkit.spec.digest import Digest

BATCH = 500
"""Tags whose facts are in memory together, and that are lost when the scan is killed."""
_PATIENCE = 3  # tags in a row that a place does not answer before it is given up; each was tried for minutes
_FAILURES = 10_000  # things that could not be read, of one target; enough to see what is wrong

In = TypeVar("In")
Out = TypeVar("Out")


class Place(Protocol):
    """A repository or a store."""

    @property
    def name(self) -> str:
        """`host/repository`, or the path of a store."""

    @property
    def is_local(self) -> bool: ...

    def tags(self) -> Iterator[str]:
        """Every name in it; `@digest` for a kit without one."""

    def told(self, tag: str) -> Digest | None:
        """What the tag points at, cheaply; None where that is not known cheaply, or the tag is gone."""

    def read(self, tag: str, is_known: Callable[[Digest], bool]) -> Found:
        """What the tag points at, and its facts unless they are known. Raises: NotFoundError where the tag is gone."""

    def statements(self, digest: Digest) -> tuple[StatementFacts, ...]:
        """What is said of a kit that was read before."""

    def releases(self) -> Iterator[ReleaseFacts]:
        """The histories of its channels, as far as they can be read. Raises: MlkitError where one cannot."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a tag points at."""

    digest: Digest
    facts: tuple[KitFacts, ...] = ()
    """Of the kit, or of an index and its kits; none where they are known, or where it is no kit."""
    is_kit: bool = True


@dataclass(slots=True)
class Scan:
    """How the scan of a target went."""

    target: str
    read: int = 0
    """Kits that were new."""
    known: int = 0
    """Kits that had been read before."""
    others: int = 0
    """Tags of something that is no kit."""
    is_unchanged: bool = False
    """The registry says that nothing has changed since the last scan, and so nothing was asked for."""
    problem: str | None = None
    """Why not everything was seen, where that is so."""
    unreached: Literal["E_AUTH", "E_NETWORK"] | None = None
    """Why it gave nothing at all, where it does not answer or lets nobody in; None where it gave something."""
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be read, and why."""

    def fail(self, what: str, why: str) -> None:
        """Something could not be read."""
        if len(self.failed) < _FAILURES:
            self.failed[what] = why
        else:
            self.problem = f"more than {_FAILURES} things could not be read"


@dataclass(frozen=True, slots=True)
class Manner:
    """How to scan."""

    now: Callable[[], float]
    threads: int = 4
    keys: frozenset[str] = frozenset()
    """Ids of the keys that signatures are checked with."""
    looks_for_statements: bool = True
    """Whether statements are asked for again of kits that were read before."""
    advance: Callable[[int], None] = lambda _: None
    """Told of the tags that are done."""


def scan_target(name: str, places: Iterable[Place], index: Index, manner: Manner, *, state: str | None = None) -> Scan:
    """Bring all places of a target into the index.

    `state` is what the registry said of itself before: where it says the same as at the last whole scan, that is all.
    Raises: StoreError where the index cannot be written.
    """
    before = index.target(name)
    if before is not None and _is_as_it_was(before, state, manner):
        index.confirm(name, at=int(manner.now()))
        return Scan(name, known=before.kits, is_unchanged=True)
    index.start(name, at=int(manner.now()), keys=_keys_by_then(before, index, manner))
    scan = Scan(name)
    problems: list[MlkitError] = []
    try:
        for place in places:
            problem = _scan_place(place, index, scan, manner)
            if problem is not None:
                scan.fail(place.name, problem.message)
                problems.append(problem)
            if len(problems) >= _PATIENCE and scan.read + scan.known == 0:
                problems.append(NetworkError("the other repositories were not asked"))
                break
    except (AuthError, NetworkError, NotFoundError, IntegrityError, LimitError) as error:
        problems.append(error)
    if problems and scan.problem is None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        scan.problem = f"{problems[0].message}{more}"
    if scan.read or scan.known or scan.others:
        scan.unreached = None
    elif problems:
        scan.unreached = _unreached(problems[0])
    index.finish(
        name,
        at=int(manner.now()),
        kit_count=scan.read + scan.known,
        state=state if scan.problem is None and not scan.failed else None,
        problem=scan.problem,
        failed=scan.failed,
        keys=manner.keys if manner.looks_for_statements and scan.problem is None else None,
    )
    return scan


def _unreached(error: MlkitError) -> Literal["E_AUTH", "E_NETWORK"] | None:
    if isinstance(error, AuthError):
        return "E_AUTH"
    return "E_NETWORK" if isinstance(error, NetworkError) else None


def _keys_by_then(before: TargetState | None, index: Index, manner: Manner) -> frozenset[str]:
    """The keys that signatures on what is known of a target were checked with, until a scan looks at all of them."""
    if before is not None:
        return before.keys & manner.keys
    # What it holds may be known from another target, where it was read with fewer keys.
    return manner.keys.intersection(*(target.keys for target in index.targets()))


def _is_as_it_was(before: TargetState, state: str | None, manner: Manner) -> bool:
    return state is not None and before.state == state and before.finished_at is not None and before.keys == manner.keys


def _scan_place(place: Place, index: Index, scan: Scan, manner: Manner) -> MlkitError | None:
    """Bring one place into the index; gives why it is not whole, where it is not."""
    number = index.place(place.name, is_local=place.is_local)
    before = index.current_tags(number)
    seen: set[str] = set()
    with ThreadPoolExecutor(manner.threads) as threads:
        try:
            for batch in chunks(place.tags(), BATCH):
                seen.update(batch)
                reading = _Reading(place, before, index, scan, threads)
                reading.run(number, batch, manner)
                manner.advance(len(batch))
        except _Gone as gone:
            told = f"{place.name}: it stopped answering within its first {len(seen)} tags: {gone}"
            return (AuthError if isinstance(gone.error, AuthError) else NetworkError)(told)
        except NotFoundError as error:
            if seen or not before:
                return error
        except (AuthError, NetworkError, IntegrityError, LimitError, UnsafeError) as error:
            return error
    index.forget_tags(number, sorted(before.keys() - seen), at=int(manner.now()))
    try:
        index.write_releases(number, list(place.releases()))
    except StoreError:
        raise
    except MlkitError as error:
        scan.fail(f"{place.name}: history", error.message)
    return None


class _Gone(Exception):
    """The place does not answer any more."""

    def __init__(self, error: MlkitError) -> None:
        super().__init__(error.message)
        self.error = error


class _Reading:
    """One batch of tags of one place."""

    def __init__(
        self, place: Place, before: Mapping[str, Digest], index: Index, scan: Scan, threads: ThreadPoolExecutor
    ) -> None:
        self._place = place
        self._before = before
        self._index = index
        self._scan = scan
        self._threads = threads
        self._gone: _Gone | None = None
        self._fresh: set[Digest] = set()

    def run(self, number: int, batch: Sequence[str], manner: Manner) -> None:
        """Read the batch and write it. Raises: _Gone once what had been read by then is written."""
        was_known = self._index.known(self._before[tag] for tag in batch if tag in self._before)
        found = self._each(lambda tag: self._look(tag, was_known), batch, lambda tag: f"{self._place.name}:{tag}")
        facts = {one.digest: one for result in found.values() for one in result.facts}
        known = {result.digest for result in found.values() if result.is_kit} - facts.keys()
        said: Mapping[Digest, tuple[StatementFacts, ...]] = {}
        if manner.looks_for_statements and self._gone is None:
            said = self._each(self._place.statements, sorted(known), lambda digest: f"{self._place.name}@{digest}")
        tags = [Tagged(tag, result.digest) for tag, result in found.items() if result.is_kit]
        self._index.write(number, list(facts.values()), tags, at=int(manner.now()))
        self._index.write_statements([KitFacts(digest, statements=some) for digest, some in said.items() if some])
        self._scan.read += len(facts)
        self._scan.known += len(known)
        self._scan.others += sum(not result.is_kit for result in found.values())
        for digest, one in facts.items():
            if one.problem is not None:
                self._scan.fail(f"{self._place.name}@{digest}", one.problem)
        if self._gone is not None:
            raise self._gone

    def _look(self, tag: str, was_known: frozenset[Digest]) -> Found:
        before = self._before.get(tag)
        if before in was_known and self._place.told(tag) == before:
            assert before is not None  # None is nobody's digest
            return Found(before)
        return self._place.read(tag, self._is_known)

    def _is_known(self, digest: Digest) -> bool:
        # Two threads may read one kit that has two new tags: a moment lost, where a lock would cost all of them more.
        if digest in self._fresh or digest in self._index.known([digest]):
            return True
        self._fresh.add(digest)
        return False

    def _each(self, work: Callable[[In], Out], items: Sequence[In], name: Callable[[In], str]) -> dict[In, Out]:
        """What `work` gives for each item; what it could not do is told, and a place that is gone is left alone."""

        def tried(item: In) -> Out | MlkitError | None:
            if self._gone is not None:
                return None
            try:
                return work(item)
            except MlkitError as error:
                return error

        results: dict[In, Out] = {}
        unanswered = 0
        for item, result in zip(items, self._threads.map(tried, items), strict=True):
            if isinstance(result, NotFoundError) or result is None:
                continue  # gone since the tags were listed
            if not isinstance(result, MlkitError):
                results[item] = result
                unanswered = 0
                continue
            self._scan.fail(name(item), result.message)
            self._scan.unreached = self._scan.unreached or _unreached(
                result
            )  # until it is known that it gave something
            unanswered = unanswered + 1 if isinstance(result, AuthError | NetworkError) else 0
            if unanswered >= _PATIENCE and self._gone is None:
                self._gone = _Gone(result)
        return results
