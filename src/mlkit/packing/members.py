"""The files in a layer that no document describes, found by reading it: layers of other tools."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from mlkit.archive.compression import decompressed
from mlkit.archive.extract import FileSeen
from mlkit.archive.reader import TarReader
from mlkit.content.storage import ReadOnlyStorage
from mlkit.content.verify import read_some
from mlkit.errors import IntegrityError
from mlkit.packing.fetch import CHUNK
from mlkit.packing.kit_layer import KitLayer
from mlkit.spec.digest import Digest


def members(layer: KitLayer, store: ReadOnlyStorage) -> tuple[FileSeen, ...]:
    """Path in the kit, size and digest of every file, in the order of the layer, which is read to its verified end.

    Raises: IntegrityError and UnsafeError for a layer that could not be unpacked either; NotFoundError.
    """
    found: tuple[FileSeen, ...]
    with store.open(layer.desc) as raw:
        stream = decompressed(raw, layer.compression)
        if layer.kind == "raw":
            found = (_seen(layer.path, stream),)
        else:
            inside = TarReader(stream, only=layer.only)
            found = tuple(_seen(layer.place(member.name), content) for member, content in inside if not member.is_dir)
        if raw.read(1):
            raise IntegrityError(f"{layer.desc.digest}: more bytes after the end of the layer's {layer.kind}")
    return found


def _seen(path: str, stream: BinaryIO) -> FileSeen:
    hasher = hashlib.sha256()
    size = 0
    view = memoryview(bytearray(CHUNK))
    while count := read_some(stream, view):
        hasher.update(view[:count])
        size += count
    return FileSeen(path, size, Digest.finished(hasher))
