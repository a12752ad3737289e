"""One planned layer into a store, each file read once and hashed on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlkit.archive.compression import Sink, compressor
from mlkit.archive.tar import END, Member, layout_offsets, padding, tar_header
from mlkit.archive.walk import SourceFile
from mlkit.content.storage import BlobWriter, Ingestor
from mlkit.errors import SizeMismatch
from mlkit.packing.fetch import Moved
from mlkit.packing.plan import PlannedLayer
from mlkit.packing.sources import changed, open_source, read_source
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord, LayerRecord

if TYPE_CHECKING:
    from hashlib import _Hash

_PIECE = 16 * 1024 * 1024
"""Bytes of a raw layer that are copied before progress is told, which may stop it: the store may be a slow line."""
_CHUNK = 1024 * 1024
"""Bytes that are gathered before they go to the store, and the size from which a file is read in chunks."""


@dataclass(frozen=True, slots=True)
class LayerContent:
    """What is known of a layer once its bytes have been read."""

    digest: Digest
    size: int
    """Bytes, as stored."""
    diff_id: Digest
    files: tuple[Digest, ...]
    """sha256 of each file, in the order of the plan."""


def write_layer(layer: PlannedLayer, store: Ingestor, moved: Moved) -> LayerContent:
    """Read the layer's files into the store; `moved` is told what was read, and may raise to stop it.

    Raises: ConflictError for a file that changed while it was read, and then the layer is not in the store.
    """
    with store.ingest() as writer:
        return _write_raw(layer.files[0], writer, moved) if layer.kind == "raw" else _write_tar(layer, writer, moved)


def layer_record(layer: PlannedLayer, content: LayerContent) -> LayerRecord:
    """What the kit document says about a layer."""
    offsets: dict[str, int] = {}
    if layer.kind == "tar":
        members = _members(layer)
        offsets = dict(zip((member.name for member in members), layout_offsets(members)[0], strict=True))
    return LayerRecord(
        digest=content.digest,
        size=content.size,
        diff_id=content.diff_id,
        kind=layer.kind,
        compression=layer.compression,
        cls=layer.cls,
        entry=layer.entry.id,
        files=tuple(
            FileRecord(file.path, file.size, file.mode, digest, offsets.get(file.path, 0))
            for file, digest in zip(layer.files, content.files, strict=True)
        ),
    )


def _write_raw(file: SourceFile, writer: BlobWriter, moved: Moved) -> LayerContent:
    with open_source(file) as source:
        for start in range(0, file.size, _PIECE):
            count = min(_PIECE, file.size - start)
            source.seek(start)
            try:
                writer.copy_from(source, count)
            except SizeMismatch as error:
                raise changed(file) from error
            moved(count)
    digest, size = writer.commit()
    return LayerContent(digest, size, digest, (digest,))


def _write_tar(layer: PlannedLayer, writer: BlobWriter, moved: Moved) -> LayerContent:
    if layer.compression == "none":
        files = _write_members(layer, writer, moved)
        digest, size = writer.commit()
        return LayerContent(digest, size, digest, files)
    packed = compressor(layer.compression, writer)
    both = _HashingSink(packed)
    files = _write_members(layer, both, moved)
    packed.finish()
    digest, size = writer.commit()
    return LayerContent(digest, size, Digest.finished(both.hasher), files)


class _HashingSink:
    """Hashes what passes: the diff id of a compressed layer."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.hasher: _Hash = hashlib.sha256()

    def write(self, chunk: bytes | bytearray | memoryview, /) -> None:
        self.hasher.update(chunk)
        self._sink.write(chunk)


def _write_members(layer: PlannedLayer, sink: Sink, moved: Moved) -> tuple[Digest, ...]:
    """The hot loop of many small files: one open, read and hash each, and one write per megabyte."""
    sha256 = hashlib.sha256
    sources = {file.path: file for file in layer.files}
    digests: dict[str, Digest] = {}
    pending: list[bytes] = []
    gathered = unreported = 0
    for member in _members(layer):
        header = tar_header(member)
        pending.append(header)
        gathered += len(header)
        file = None if member.is_dir else sources[member.name]
        if file is not None and file.size <= _CHUNK:
            content = read_source(file)
            digests[file.path] = Digest("sha256", sha256(content).hexdigest())
            pending += (content, padding(file.size))
            gathered += file.size
            unreported += file.size
        elif file is not None:
            sink.write(b"".join(pending))
            pending, gathered = [padding(file.size)], 0
            digests[file.path] = _write_large(file, sink, moved)
        if gathered >= _CHUNK:
            sink.write(b"".join(pending))
            moved(unreported)
            pending, gathered, unreported = [], 0, 0
    sink.write(b"".join([*pending, END]))
    moved(unreported)
    return tuple(digests[file.path] for file in layer.files)


def _write_large(file: SourceFile, sink: Sink, moved: Moved) -> Digest:
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    left = file.size
    with open_source(file) as source:
        while left:
            count = source.readinto(buffer[: min(left, _CHUNK)])
            if not count:
                raise changed(file)
            hasher.update(buffer[:count])
            sink.write(buffer[:count])
            left -= count
            moved(count)
    return Digest.finished(hasher)


def _members(layer: PlannedLayer) -> list[Member]:
    """Every member of a tar layer in the order of their names, directories before what is in them."""
    directories = set(layer.directories)
    for path in (*(file.path for file in layer.files), *layer.directories):
        parent = path.rpartition("/")[0]
        while parent and parent not in directories:
            directories.add(parent)
            parent = parent.rpartition("/")[0]
    members = [Member(directory, 0, 0o755, True) for directory in directories]
    members += [Member(file.path, file.size, file.mode, False) for file in layer.files]
    return sorted(members, key=lambda member: member.name.encode())
