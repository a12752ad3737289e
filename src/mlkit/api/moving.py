"""What push, pull and copy have in common: content first, then what refers to it, and the tag last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.api.session import Session, Source
from mlkit.content.copy import CopyResult, copy
from mlkit.content.graph import walk
from mlkit.content.referrers import ReferredTo, copy_referrers, referring
from mlkit.content.storage import ReadOnlyStorage, Target
from mlkit.errors import MlkitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord

if TYPE_CHECKING:
    from mlkit.registry.store import RegistryStore


@dataclass(frozen=True, slots=True)
class UnpackedEntry:
    """What was written of one entry of a kit."""

    entry: str | None
    """Its address in the Kitfile, such as `datasets[1]`; None for what belongs to none, such as the Kitfile."""
    path: str
    """Of the entry; `.` is all of the kit."""
    files: int
    size: int
    """Bytes of them."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Files that were written."""

    reference: str
    digest: Digest
    directory: Path
    files: tuple[str, ...]
    size: int
    """Bytes of the files."""
    skipped: tuple[str, ...]
    """Files that were there already and were left as they are."""
    source: Source
    version: str | None = None
    """Of the kit, as its manifest tells it."""
    left: tuple[str, ...] = ()
    """Datasets that are elsewhere, and stay there because nobody asked for them."""
    policy: str | None = None
    """What the policy that is configured says of the kit: met, noted or skipped."""
    entries: tuple[UnpackedEntry, ...] = ()
    """What was written of each, in the order of the Kitfile; those of which nothing was are left out."""


def by_entry(entries: Iterable[EntryRecord], files: Iterable[tuple[str, int]]) -> tuple[UnpackedEntry, ...]:
    """Files and their sizes in bytes, counted by the entry that they belong to: the one whose path is the nearest."""
    listed = list(entries)
    nearest: dict[str, str | None] = {}
    for entry in listed:
        nearest.setdefault(entry.path, entry.id)
    counts: dict[tuple[str | None, str], list[int]] = {(entry.id, entry.path): [0, 0] for entry in listed}
    for path, size in files:
        place = path
        while place not in nearest and place != ".":
            place = place.rpartition("/")[0] or "."
        count = counts.setdefault((nearest.get(place), place), [0, 0])
        count[0] += 1
        count[1] += size
    return tuple(UnpackedEntry(*key, *count) for key, count in counts.items() if count[0])


@dataclass(frozen=True, slots=True)
class Moved:
    """What a push, pull or copy moved, or would move."""

    reference: str
    digest: Digest
    size: int
    """Bytes of the whole kit, whatever was selected of it, without its referrers."""
    moved_bytes: int
    """What was sent or fetched, content that had to be fetched again included."""
    present_bytes: int
    moved: int
    """Number of blobs and manifests."""
    present: int
    is_partial: bool
    dry_run: bool
    referrers: int = 0
    """Signatures, attestations and whatever else refers to the kit and went along."""
    replaced: Digest | None = None
    """What the tag in the registry pointed at before, where that was something else."""
    resumed_bytes: int = 0
    """What an earlier run, which was interrupted, had brought of the content that moved."""
    unpacked: Unpacked | None = None
    variant: Digest | None = None
    """The kit that labels chose from an index, whose digest `digest` is then."""
    policy: str | None = None
    """What the policy that is configured says of the kit: met, noted or skipped."""


@dataclass(frozen=True, slots=True)
class Movement:
    """The copies that one command made, the kit's own first."""

    results: tuple[CopyResult, ...]
    referrers: int

    def and_of(self, others: Iterable[Movement]) -> Movement:
        """This one and others as one."""
        movements = (self, *others)
        results = tuple(result for movement in movements for result in movement.results)
        return Movement(results, sum(movement.referrers for movement in movements))

    def moved(
        self, reference: str, size: int, *, is_partial: bool, dry_run: bool, replaced: Digest | None = None
    ) -> Moved:
        """What to tell about it; content that several copies came by counts once."""
        done = {desc.digest: desc.size for result in self.results for desc in result.moved}
        there = {desc.digest: desc.size for result in self.results for desc in result.present}
        there = {digest: count for digest, count in there.items() if digest not in done}
        # What was read is not what the content comes to, where some was there already or had to be read twice.
        difference = sum(result.moved_bytes - sum(desc.size for desc in result.moved) for result in self.results)
        return Moved(
            reference=reference,
            digest=self.results[0].root.digest,
            size=size,
            moved_bytes=sum(done.values()) + difference,
            present_bytes=sum(there.values()),
            moved=len(done),
            present=len(there),
            is_partial=is_partial,
            dry_run=dry_run,
            referrers=self.referrers,
            replaced=replaced,
            resumed_bytes=sum(result.resumed_bytes for result in self.results),
        )


def everything(_: Descriptor) -> bool:
    """No part of a kit is left out."""
    return True


def move(
    session: Session,
    source: ReadOnlyStorage,
    target: Target,
    root: Descriptor,
    *,
    referred: ReferredTo | None,
    wanted: Callable[[Descriptor], bool] = everything,
    dry_run: bool = False,
) -> Movement:
    """Bring what is `wanted` of a kit to `target`, and all that refers to it in `referred`; nothing is named yet.

    `dry_run` only looks. Raises: what the stores raise; LimitError for referrers without end.
    """
    with session.tracer.span("transfer", digest=str(root.digest)) as span:
        movement = _move(session, source, target, root, referred=referred, wanted=wanted, dry_run=dry_run)
        span.note(moved_bytes=sum(result.moved_bytes for result in movement.results))
    return movement


def _move(
    session: Session,
    source: ReadOnlyStorage,
    target: Target,
    root: Descriptor,
    *,
    referred: ReferredTo | None,
    wanted: Callable[[Descriptor], bool],
    dry_run: bool,
) -> Movement:
    concurrency, ranges, progress = session.settings.concurrency, session.settings.ranges, session.progress
    if dry_run:
        results = [rehearsed(source, target.exists, root, wanted)]
    else:
        results = [copy(source, target, root, wanted=wanted, concurrency=concurrency, ranges=ranges, progress=progress)]
    if referred is None:
        return Movement(tuple(results), 0)
    with explained_referrers():
        if dry_run:
            referrers = referring(referred, root, wanted=wanted, limit=session.settings.limits.referrers)
            results += [rehearsed(referred, target.exists, referrer, everything) for referrer in referrers]
        else:
            referrers = copy_referrers(
                referred,
                target,
                root,
                wanted=wanted,
                limit=session.settings.limits.referrers,
                concurrency=concurrency,
                progress=progress,
                copied=results.append,
            )
    return Movement(tuple(results), len(referrers))


def rehearsed(
    source: ReadOnlyStorage,
    exists: Callable[[Descriptor], bool],
    root: Descriptor,
    wanted: Callable[[Descriptor], bool],
) -> CopyResult:
    """What `copy` would report, with nothing moved."""
    found = [desc for desc, _ in walk(source, root, wanted=wanted)]
    present = tuple(desc for desc in found if exists(desc))
    there = {desc.digest for desc in present}
    return CopyResult(root, moved=tuple(desc for desc in found if desc.digest not in there), present=present)


def kit_size(store: ReadOnlyStorage, root: Descriptor, *, wanted: Callable[[Descriptor], bool] = everything) -> int:
    """Bytes of everything `wanted` below and including `root`."""
    return sum(desc.size for desc, _ in walk(store, root, wanted=wanted))


def check_condition(repository: RegistryStore, desc: Descriptor, tag: str, if_match: Digest | None) -> None:
    """Before any byte moves: that the tag may be moved at the end. Raises: ConflictError."""
    if if_match is not None:
        repository.expect(tag, if_match, or_else=desc.digest)


def move_tag(
    repository: RegistryStore, desc: Descriptor, tag: str, *, if_match: Digest | None = None, dry_run: bool = False
) -> Digest | None:
    """Let a tag point at a kit that is there, and give what it pointed at before, if at something else.

    A tag that is there already is left alone. With `if_match` it moves from that digest and from no other.
    Raises: ConflictError where it points elsewhere.
    """
    before = repository.tagged(tag, algorithm=desc.digest.algorithm)
    if before == desc.digest or dry_run:
        return before if before != desc.digest else None
    repository.tag(desc, tag, replacing=if_match)
    return before


@contextmanager
def explained_referrers() -> Iterator[None]:
    """Say of a referrer that cannot be had how to go without."""
    try:
        yield
    except MlkitError as error:
        without = "--no-referrers leaves signatures and other referrers out"
        error.hint = f"{error.hint}; {without}" if error.hint else without
        raise
