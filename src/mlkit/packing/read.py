"""One file out of a kit, as a stream, with as few bytes asked of the store as its layer allows."""

from __future__ import annotations

import difflib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from mlkit.archive.compression import decompressed
from mlkit.archive.limits import DEFAULT_LIMITS
from mlkit.archive.reader import TarReader
from mlkit.content.lock import disk_errors
from mlkit.content.storage import ReadOnlyStorage, open_part
from mlkit.content.verify import VerifyReader, read_some
from mlkit.errors import IntegrityError, NotFoundError
from mlkit.packing.fetch import CHUNK, file_descriptor
from mlkit.packing.kit import Kit, KitFile
from mlkit.packing.kit_layer import KitLayer
from mlkit.packing.select import KITFILE_NAME
from mlkit.spec.kit_document import FileRecord

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SUGGESTIONS = 3


@contextmanager
def open_file(kit: Kit, store: ReadOnlyStorage, path: str) -> Iterator[BinaryIO]:
    """A stream of one file, verified before its last byte leaves.

    Only the file's own bytes are asked for, unless it lies in a compressed layer (read up to the file) or in a tar of
    another tool (read whole, before the first byte leaves, because nothing else tells that the file is right).
    Raises: NotFoundError; DigestMismatch or SizeMismatch while it is read.
    """
    path = path.removeprefix("./")
    file = next((file for file in kit.files if file.path == path), None)
    if file is not None:
        with _open_known(file, store) as stream:
            yield stream
    elif path == KITFILE_NAME:
        yield io.BytesIO(kit.kitfile_text.encode("utf-8"))
    else:
        with _open_unread(kit, store, path) as stream:
            yield stream


@contextmanager
def _open_known(file: KitFile, store: ReadOnlyStorage) -> Iterator[BinaryIO]:
    layer = file.layer
    record = FileRecord(file.path, file.size, file.mode, file.digest, file.offset)
    if layer.compression == "none":
        if layer.kind == "raw":
            with store.open(layer.desc) as stream:
                yield stream
            return
        with open_part(store, layer.desc, offset=file.offset, length=file.size) as stream:
            yield _verified(cast(BinaryIO, _Slice(stream, file.size)), record)
        return
    with store.open(layer.desc) as raw:
        stream = decompressed(raw, layer.compression, limits=DEFAULT_LIMITS)
        if layer.kind == "raw":
            yield _verified(stream, record)
            return
        for member, content in TarReader(stream):
            if member.name == file.path and not member.is_dir:
                yield _verified(content, record)
                return
    raise IntegrityError(f"{layer.desc.digest}: does not hold {ascii(file.path)[:200]}, which the kit document lists")


@contextmanager
def _open_unread(kit: Kit, store: ReadOnlyStorage, path: str) -> Iterator[BinaryIO]:
    for layer in kit.layers:
        if layer.files is None and _may_hold(layer, path):
            with tempfile.TemporaryFile() as spool:
                if _spool(layer, store, path, cast(BinaryIO, spool)):
                    spool.seek(0)
                    yield cast(BinaryIO, spool)
                    return
    close = difflib.get_close_matches(path, [file.path for file in kit.files[:10_000]], _SUGGESTIONS)
    raise NotFoundError(
        f"this kit has no file {ascii(path)[:200]}"
        + (f" (did you mean {', '.join(map(ascii, close))}?)" if close else ""),
        hint="`mlkit files` lists every file of a kit",
    )


def _may_hold(layer: KitLayer, path: str) -> bool:
    if layer.kind == "raw":
        return layer.path == path
    return layer.path == "." or path == layer.path or path.startswith(f"{layer.path}/")


def _spool(layer: KitLayer, store: ReadOnlyStorage, path: str, spool: BinaryIO) -> bool:
    """Read the layer to its verified end, keeping the file at `path`; whether there was one."""
    found = False
    with store.open(layer.desc) as raw, disk_errors(tempfile.gettempdir()):
        stream = decompressed(raw, layer.compression, limits=DEFAULT_LIMITS)
        if layer.kind == "raw":
            _keep(stream, spool)
            found = True
        else:
            for member, content in TarReader(stream, only=layer.only):
                if layer.place(member.name) == path and not member.is_dir:
                    _keep(content, spool)
                    found = True
        if raw.read(1):
            raise IntegrityError(f"{layer.desc.digest}: more bytes after the end of the layer's {layer.kind}")
    return found


def _keep(stream: BinaryIO, spool: BinaryIO) -> None:
    view = memoryview(bytearray(CHUNK))
    while count := read_some(stream, view):
        spool.write(view[:count])


def _verified(stream: BinaryIO, file: FileRecord) -> BinaryIO:
    return cast(BinaryIO, VerifyReader(stream, file_descriptor(file)))


class _Slice(io.RawIOBase):
    """The next `size` bytes of a stream, which then ends as if there were no more."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = read_some(self._stream, view[: self._left])
        self._left -= count
        return count
