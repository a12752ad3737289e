"""Deleting what nothing points at, without racing those who are about to point at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlkit.content.blobs import BlobOnDisk
from mlkit.content.graph import document, is_document, walk
from mlkit.content.index import LayoutIndex
from mlkit.content.layout import Layout
from mlkit.errors import IntegrityError, NotFoundError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

PARTIAL_GRACES = 7
"""An unfinished download is of more use than a blob without a name: it is kept for as many times the grace."""


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was deleted, or would be."""

    removed: tuple[Digest, ...]
    freed_bytes: int
    partials: tuple[Digest, ...] = ()
    """Unfinished downloads; what they took up is among the freed bytes."""
    young_bytes: int = 0
    """What no entry reaches either, and stays because it is younger than the grace."""


def prune(layout: Layout, *, grace_seconds: float, now: float, dry_run: bool = False) -> PruneResult:
    """Delete the blobs that no entry of the index reaches and that were written or found useful before `now` - grace.

    A referrer without a name goes with its subject. Unfinished downloads go after seven times the grace.
    `now` is in seconds since the epoch.
    Raises: StoreError where a manifest in the index is missing or damaged, since nobody knows then what it points at.
    """
    if layout.is_absent:
        return PruneResult((), 0)
    partials = layout.ingest_area.abandoned(now - PARTIAL_GRACES * grace_seconds)
    if not dry_run:
        layout.ingest_area.reap(partials_before=now - PARTIAL_GRACES * grace_seconds)
    with layout.lock.exclusive():
        # What another program wrote over is still wanted.
        index = layout.index_file.settled().index
        on_disk = {blob.digest: blob for blob in layout.blobs.listing()}
        old = {digest for digest, blob in on_disk.items() if blob.modified <= now - grace_seconds}
        reached, orphans = _reached(layout, index, old)
        removed = tuple(sorted(old - reached))
        if not dry_run:
            # Entry first, content after it: an index never points at what is gone.
            layout.index_file.change(lambda index: index.without(orphans))
            for digest in removed:
                layout.blobs.remove(digest)
    freed = _total(on_disk, removed) + sum(partial.size for partial in partials)
    return PruneResult(
        removed,
        freed,
        partials=tuple(sorted(partial.digest for partial in partials)),
        young_bytes=_total(on_disk, set(on_disk) - old - reached),
    )


def _reached(layout: Layout, index: LayoutIndex, old: set[Digest]) -> tuple[set[Digest], set[Digest]]:
    """The digests that must stay, and the nameless referrers whose subject does not."""
    reached: set[Digest] = set()
    waiting: list[tuple[Descriptor, Digest]] = []
    for entry in index.entries:
        if entry.desc is None:
            continue
        subject = _subject(layout, entry.desc) if entry.name is None else None
        if subject is not None and entry.desc.digest in old:
            waiting.append((entry.desc, subject))
        else:
            reached.update(_below(layout, entry.desc))
    # A referrer may itself be a subject, so this goes on until a round finds nothing more to keep.
    while kept := [item for item in waiting if item[1] in reached]:
        for desc, _ in kept:
            reached.update(_below(layout, desc))
        waiting = [item for item in waiting if item not in kept]
    return reached, {desc.digest for desc, _ in waiting} - reached


def _below(layout: Layout, root: Descriptor) -> Iterator[Digest]:
    yield root.digest
    try:
        for desc, _ in walk(layout, root, wanted=lambda desc: not is_document(desc) or _is_here(layout, desc)):
            yield desc.digest
    except (NotFoundError, IntegrityError) as error:
        raise _unreadable(root) from error


def _subject(layout: Layout, desc: Descriptor) -> Digest | None:
    if not is_document(desc):
        return None
    try:
        subject = document(layout, desc).subject
    except (NotFoundError, IntegrityError) as error:
        raise _unreadable(desc) from error
    return None if subject is None else subject.digest


def _is_here(layout: Layout, desc: Descriptor) -> bool:
    return layout.blobs.size(desc.digest) is not None


def _unreadable(desc: Descriptor) -> StoreError:
    return StoreError(
        f"{desc.digest}: index.json names this manifest, and it is missing or damaged",
        hint="pull it again, or remove its name; until then nothing is pruned",
    )


def _total(on_disk: dict[Digest, BlobOnDisk], digests: Iterable[Digest]) -> int:
    return sum(on_disk[digest].size for digest in digests)
