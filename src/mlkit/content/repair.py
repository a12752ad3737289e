"""Making a layout whole again from what it knows of itself: the journal, the index before, manifests among the blobs.

Nothing is deleted: what is damaged goes to `.mlkit/quarantine/`, from where it can be taken back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlkit.content.graph import below
from mlkit.content.index import INDEX_LIMIT, Entry, LayoutIndex, read_small
from mlkit.content.index_file import sha256_of
from mlkit.content.layout import CONTROL, Layout, write_marker
from mlkit.content.lock import disk_errors, sync_directory
from mlkit.errors import MlkitError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import OCTET_STREAM

_IN_PLACE_WAIT = 0.1  # seconds
QUARANTINE = f"{CONTROL}/quarantine"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An index that was made again."""

    names: int
    nameless: int
    kept: Path | None
    """Where the broken one is now; None where there was none."""


def rebuilt(layout: Layout) -> LayoutIndex:
    """The index as the journal and the index before have it; where these do not reach back, with the manifests that
    lie among the blobs, without a name. Changes nothing.
    """
    before = _previous(layout)
    changes = list(layout.index_file.journal.all())
    index = LayoutIndex.empty()
    is_complete = bool(changes) and changes[0].was == sha256_of(index.render())
    if before is not None:
        digest, index = before
        begin = next((at for at in reversed(range(len(changes))) if changes[at].was == digest), None)
        while begin and changes[begin - 1].was == digest:
            begin -= 1
        is_complete = is_complete or begin is not None
        changes = changes[begin:] if begin is not None else changes
    for change in changes:
        if change.entry is None and change.new is not None and change.name is not None:
            index = _as_older_versions_wrote(layout, index, change.name, change.new)
        else:
            index = change.applied(index)
    return index if is_complete else _with_what_lies_there(layout, index)


def rebuild(layout: Layout) -> Rebuilt:
    """Put the index of `rebuilt` in the place of a broken one. Raises: StoreError."""
    with layout.lock.exclusive():
        with suppress(StoreError):
            layout.index_file.settled()
            return Rebuilt(0, 0, None)  # somebody else was faster
        index = rebuilt(layout)
        kept = _aside(layout, layout.root / "index.json", "index.json")
        layout.index_file.install(index)
    names = sum(entry.name is not None for entry in index.entries)
    return Rebuilt(names, len(index.entries) - names, kept)


def restore_marker(layout: Layout) -> None:
    """Write `oci-layout` again; what lies there is kept. Raises: StoreError."""
    with disk_errors(layout.root):
        (layout.root / CONTROL).mkdir(exist_ok=True)
    with layout.lock.exclusive():
        _aside(layout, layout.root / "oci-layout", "oci-layout")
        write_marker(layout.root)


def restore_lost(layout: Layout) -> None:
    """Let the index have again what another program wrote over. Raises: StoreError."""
    with layout.lock.exclusive():
        layout.index_file.change(lambda index: index)


def set_aside(layout: Layout, digest: Digest) -> Path | None:
    """Move a blob that is damaged to the quarantine, and say where; None where it is sound, or not there.

    Looked at once more under the lock, since a sound one may have taken its place, or memory and not the disk be at
    fault. Raises: StoreError where the store cannot be written.
    """
    with layout.lock.exclusive():
        if not os.path.lexists(layout.blobs.path(digest)) or layout.blobs.problem(digest) is None:
            return None
        # Other programs write blobs in place, also those that are there: this may be one of those moments.
        time.sleep(_IN_PLACE_WAIT)
        if not os.path.lexists(layout.blobs.path(digest)) or layout.blobs.problem(digest) is None:
            return None
        return _aside(layout, layout.blobs.path(digest), f"{digest.algorithm}-{digest.hex}")


def quarantined(layout: Layout) -> tuple[int, int]:
    """How many things are in the quarantine, and their bytes. Raises: StoreError."""
    folder = layout.root / QUARANTINE
    with disk_errors(folder):
        if not folder.is_dir():
            return 0, 0
        sizes = [path.lstat().st_size for path in folder.iterdir()]
    return len(sizes), sum(sizes)


def _aside(layout: Layout, path: Path, name: str) -> Path | None:
    folder = layout.root / QUARANTINE
    with disk_errors(path):
        if not os.path.lexists(path):
            return None
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / name
        number = 1
        while os.path.lexists(place):
            number += 1
            place = folder / f"{name}.{number}"
        path.rename(place)
        sync_directory(folder)
        sync_directory(path.parent)
    return place


def _previous(layout: Layout) -> tuple[str, LayoutIndex] | None:
    try:
        raw = read_small(layout.index_file.previous, limit=INDEX_LIMIT)
        return sha256_of(raw), LayoutIndex.parse(raw, what=str(layout.index_file.previous))
    except StoreError:
        return None


def _as_older_versions_wrote(layout: Layout, index: LayoutIndex, name: str, digest: str) -> LayoutIndex:
    """A line without an entry: its descriptor follows from the manifest, if that is still here."""
    try:
        return index.tagged(layout.resolve_blob(Digest.parse(digest)), name)
    except MlkitError:
        return index.untagged(name)


def _with_what_lies_there(layout: Layout, index: LayoutIndex) -> LayoutIndex:
    found = {desc.digest: (desc, document) for desc, document in _manifests(layout)}
    listed = {
        child.digest for _, document in found.values() if isinstance(document, Index) for child in below(document)
    }
    nameless = [
        Entry.of(desc, None).text
        for digest, (desc, _) in sorted(found.items())
        if digest not in listed and not index.lists(digest)
    ]
    return LayoutIndex(index.fields, (*index.lines, *nameless))


def _manifests(layout: Layout) -> Iterator[tuple[Descriptor, Manifest | Index]]:
    for blob in layout.blobs.listing():
        if blob.size > MANIFEST_LIMIT:
            continue
        desc = Descriptor(OCTET_STREAM, blob.digest, blob.size)
        with suppress(MlkitError):
            with layout.open(desc) as stream:
                # Most blobs are no JSON, and one byte tells.
                if stream.read(1) != b"{":
                    continue
            raw = layout.raw(desc)
            if b'"schemaVersion"' not in raw:
                continue
            document = parse_manifest(raw)
            yield (
                Descriptor(document.descriptor.media_type, blob.digest, blob.size, {}, document.artifact_type),
                document,
            )
