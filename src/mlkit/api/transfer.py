"""Kits on the move: push, pull, unpack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlkit.api.parents import parents_of
from mlkit.api.session import Located, Session, Source, explained_absence
from mlkit.archive.extract import check_destination
from mlkit.content.copy import CopyResult, copy, missing
from mlkit.content.graph import walk
from mlkit.content.overlay import Overlay
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import NotFoundError, UsageError
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.select import Selection, select
from mlkit.packing.unpack import unpack as unpack_kit
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import ORIGIN, PARTIAL
from mlkit.spec.reference import Reference

Existing = Literal["refuse", "overwrite", "ignore"]


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


@dataclass(frozen=True, slots=True)
class Moved:
    """What a push or pull moved, or would move."""

    reference: str
    digest: Digest
    size: int
    """Bytes of the whole kit, whatever was selected of it."""
    moved_bytes: int
    present_bytes: int
    moved: int
    """Number of blobs and manifests."""
    present: int
    is_partial: bool
    dry_run: bool
    unpacked: Unpacked | None = None


def push(
    session: Session, reference: Reference, destination: Reference | None = None, *, dry_run: bool = False
) -> Moved:
    """Send a local kit, with what refers to it, to a registry; the tag moves last.

    Raises: NotFoundError for a kit that is not here, or that is partial where the registry lacks the rest.
    """
    desc = session.local(reference)
    destination = destination or reference
    if destination.digest is not None and destination.digest != desc.digest:
        raise UsageError(f"{destination}: the kit has another digest, {desc.digest}")
    repository = session.registry(destination)
    absent = missing(session.layout, desc)
    for blob in absent:
        if not repository.exists(blob):
            raise NotFoundError(
                f"{reference}: this kit is partial here, and {destination.name} lacks {blob.digest} too",
                hint=f"`mlkit pull {desc.annotations.get(ORIGIN, reference.name)}@{desc.digest}` fetches the rest",
            )
    here = {blob.digest for blob in absent}
    if dry_run:
        result = _rehearsed(session.layout, repository.exists, desc, lambda blob: blob.digest not in here)
    else:
        result = copy(
            session.layout,
            repository,
            desc.bare,
            wanted=lambda blob: blob.digest not in here,
            concurrency=session.settings.concurrency,
            progress=session.progress,
        )
        for referrer in session.layout.referrers(desc):
            copy(session.layout, repository, referrer, progress=session.progress)
        repository.tag(desc.bare, destination.tag or "latest")
    shown = Reference(destination.host, destination.repository, destination.tag or "latest")
    return _moved(str(shown), _size(session.layout, desc), result, is_partial=bool(absent), dry_run=dry_run)


def pull(
    session: Session,
    reference: Reference,
    *,
    filters: Sequence[str] = (),
    unpack_to: Path | None = None,
    existing: Existing = "refuse",
    dry_run: bool = False,
) -> Moved:
    """Fetch a kit, or the selected layers of it, into the local store under its full name.

    `unpack_to` writes the selected files there while they arrive, and keeps only the small documents in the store.
    Raises: NotFoundError for an unknown reference or a filter that matches nothing.
    """
    repository = session.registry(reference)
    desc = repository.resolve(reference.target)
    store = Overlay(session.layout, repository)
    wanted: Callable[[Descriptor], bool] = _everything
    unpacked = None
    if filters or unpack_to is not None:
        kit = load_kit(store, desc)
        selection = select(kit, filters) if filters else None
        if unpack_to is not None and not dry_run:
            located = Located(reference, desc, store, "remote")
            unpacked = _unpack(session, located, kit, selection, unpack_to, existing)
        wanted = _documents_of(kit) if unpack_to is not None else _documents_and(kit, selection)
    if dry_run:
        result = _rehearsed(store, session.layout.exists, desc, _everything if unpack_to else wanted)
    else:
        result = copy(
            store,
            session.layout,
            desc,
            wanted=wanted,
            concurrency=session.settings.concurrency,
            progress=session.progress,
        )
        _name(session, reference, desc)
    absent = missing(session.layout, desc) if not dry_run else ()
    return replace(
        _moved(str(reference), _size(store, desc), result, is_partial=bool(absent), dry_run=dry_run), unpacked=unpacked
    )


def unpack(
    session: Session,
    reference: Reference,
    destination: Path,
    *,
    filters: Sequence[str] = (),
    existing: Existing = "refuse",
    remote: bool = False,
) -> Unpacked:
    """Write the files of a kit, or the selected ones, into a directory: all of them verified, or none.

    A kit that is not in the local store streams from its registry, each byte once, and leaves nothing in the store.
    Raises: ConflictError for files that exist; UnsafeError, IntegrityError for content that is refused.
    """
    located = session.locate(reference, remote=remote)
    with explained_absence(located):
        kit = load_kit(located.store, located.desc)
        selection = select(kit, filters) if filters else None
        return _unpack(session, located, kit, selection, destination, existing)


def _unpack(
    session: Session, located: Located, kit: Kit, selection: Selection | None, destination: Path, existing: Existing
) -> Unpacked:
    check_destination(destination, store=session.settings.home, home=session.settings.user_home)
    result = unpack_kit(
        kit,
        located.store,
        destination,
        selection=selection,
        existing=existing,
        concurrency=session.settings.concurrency,
        progress=session.progress,
        parents=parents_of(session),
    )
    return Unpacked(
        reference=str(located.reference),
        digest=located.desc.digest,
        directory=destination,
        files=result.files,
        size=result.size,
        skipped=result.skipped,
        source=located.source,
    )


def _everything(_: Descriptor) -> bool:
    return True


def _documents_of(kit: Kit) -> Callable[[Descriptor], bool]:
    """Only what tells about the kit: everything but its layers of files."""
    layers = {layer.desc.digest for layer in kit.layers}
    return lambda blob: blob.digest not in layers


def _documents_and(kit: Kit, selection: Selection | None) -> Callable[[Descriptor], bool]:
    if selection is None:
        return _everything
    layers = {layer.desc.digest for layer in kit.layers}
    selected = {chosen.layer.desc.digest for chosen in selection.layers}
    return lambda blob: blob.digest not in layers or blob.digest in selected


def _name(session: Session, reference: Reference, desc: Descriptor) -> None:
    """Enter the pulled kit in the local index, as partial where layers are absent on purpose."""
    entry = desc.bare.with_annotations({ORIGIN: reference.name})
    if missing(session.layout, desc):
        entry = entry.with_annotations({PARTIAL: "true"})
    if reference.digest is not None and reference.tag is None:
        session.layout.record(entry)
    else:
        session.layout.tag(entry, reference.local_name)


def _rehearsed(
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


def _size(store: ReadOnlyStorage, root: Descriptor) -> int:
    return sum(desc.size for desc, _ in walk(store, root))


def _moved(reference: str, size: int, result: CopyResult, *, is_partial: bool, dry_run: bool) -> Moved:
    return Moved(
        reference=reference,
        digest=result.root.digest,
        size=size,
        moved_bytes=result.moved_bytes,
        present_bytes=result.present_bytes,
        moved=len(result.moved),
        present=len(result.present),
        is_partial=is_partial,
        dry_run=dry_run,
    )
