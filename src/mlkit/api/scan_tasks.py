"""The files of a directory, and those of a kit in a store or registry, as a scan wants them: open, never unpacked."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from mlkit.api.session import Located, Session
from mlkit.archive.compression import decompressed
from mlkit.archive.reader import TarReader
from mlkit.content.lock import disk_errors
from mlkit.content.storage import ReadOnlyStorage, open_part
from mlkit.content.verify import read_some
from mlkit.errors import DigestMismatch, IntegrityError, NotFoundError, StoreError
from mlkit.packing.kit import Kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.trust.scan.sandbox import Task
from mlkit.trust.scan.source import BytesSource

_CHUNK: Final = 1 << 20
# O_NONBLOCK: a named pipe must not block the open.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def tasks_below(path: Path, skipped: list[str]) -> Iterator[Task]:
    """Every regular file below a directory, or the file itself; what is not opened is added to `skipped`.

    Raises: NotFoundError.
    """
    if not path.is_dir():
        yield from _task_of(path, path.name, skipped, follow=True)
        return

    def unreadable(error: OSError) -> None:
        skipped.append(f"{_shown(error.filename, path)}: {os.strerror(error.errno or 0)}")

    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders.sort()
        for name in [*folders]:
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114  # text throughout, for speed
                skipped.append(f"{_shown(os.path.join(folder, name), path)}: a link, which is not followed")
        for name in sorted(names):
            place = Path(folder, name)
            yield from _task_of(place, _shown(str(place), path), skipped, follow=False)


def tasks_of_kit(session: Session, located: Located, kit: Kit, scan: KitScan) -> Iterator[Task]:
    """Every file of a kit's layers. Raises: what the store raises; IntegrityError for a layer that is broken."""
    yield _text("Kitfile", kit.kitfile_text)
    known = {layer.desc.digest for layer in kit.layers}
    if kit.document_layer is not None:
        known.add(kit.document_layer.digest)
    for layer in kit.layers:
        if scan.wants(layer):
            yield from _layer(session, located, layer, scan)
    if not scan.is_filtered:
        for desc in kit.manifest.layers:
            if desc.digest not in known:
                # Of a type that unpacks to nothing here; other tools may know better.
                yield from _raw(session, located, desc, f"layer {desc.digest.short}", scan)


class KitScan:
    """What is wanted of a kit, and what became of it."""

    def __init__(
        self, chosen: frozenset[Digest] | None, *, whole_size: int | None, far_size: int | None, fetches: bool
    ) -> None:
        """`whole_size`: bytes of a layer here up to which it is hashed whole, `far_size` of one far away; None: all."""
        self._chosen = chosen
        self._whole_size = whole_size
        self._far_size = far_size
        self.fetches = fetches
        self.skipped: list[str] = []
        self.unverified: list[str] = []
        """Layers whose digest nobody checked, because only parts of them are read."""

    @property
    def is_filtered(self) -> bool:
        """Whether some layers were not asked for."""
        return self._chosen is not None

    def verifies(self, desc: Descriptor, *, is_far: bool) -> bool:
        """Whether all of a layer is read, so that every byte that is looked at is of its digest."""
        limit = self._far_size if is_far else self._whole_size
        return limit is None or desc.size <= limit

    def wants(self, layer: KitLayer) -> bool:
        """Notes a layer that is not wanted as not scanned: an attestation is of the whole kit."""
        if self._chosen is None or layer.desc.digest in self._chosen:
            return True
        self.skipped.append(f"{layer.path}: left out by a filter")
        return False


def _layer(session: Session, located: Located, layer: KitLayer, scan: KitScan) -> Iterator[Task]:
    desc = layer.desc
    if not _is_there(session, located, desc, scan):
        scan.skipped.append(f"{layer.path}: its layer {desc.digest.short} is not in the local store")
    elif layer.compression != "none" or (layer.kind == "tar" and layer.files is None):
        yield from _streamed(located.store, layer)
    elif layer.kind == "raw":
        yield from _raw(session, located, desc, layer.path, scan)
    else:
        with _opened(session, located, desc, layer.path, scan) as place:
            for file in layer.files or ():
                yield _part(place, file.path, file.offset, file.size)


def _raw(session: Session, located: Located, desc: Descriptor, path: str, scan: KitScan) -> Iterator[Task]:
    if not _is_there(session, located, desc, scan):
        scan.skipped.append(f"{path}: its layer {desc.digest.short} is not in the local store")
        return
    with _opened(session, located, desc, path, scan) as place:
        yield _part(place, path, 0, desc.size)


def _is_there(session: Session, located: Located, desc: Descriptor, scan: KitScan) -> bool:
    return located.source == "remote" or scan.fetches or session.layout.exists(desc)


@contextmanager
def _opened(session: Session, located: Located, desc: Descriptor, path: str, scan: KitScan) -> Iterator[int | _Far]:
    """A descriptor of the layer's file, or the layer far away. Raises: DigestMismatch, before anything is looked at."""
    here = session.layout.path(desc)
    verifies = scan.verifies(desc, is_far=here is None)
    if not verifies:
        scan.unverified.append(path)
    if here is not None:
        descriptor = _open(here)
        try:
            if verifies:
                _verify(descriptor, desc)
            yield descriptor
        finally:
            os.close(descriptor)
    elif verifies:
        with tempfile.TemporaryFile() as spool, located.store.open(desc) as stream, disk_errors(tempfile.gettempdir()):
            _copy(stream, cast(BinaryIO, spool))
            spool.flush()
            yield spool.fileno()
    else:
        yield _Far(located.store, desc)


def _part(place: int | _Far, path: str, offset: int, size: int) -> Task:
    if isinstance(place, int):
        return Task(path, size, descriptor=place, offset=offset)
    return Task(path, size, source=_FarPart(place, offset, size), is_far=True)


def _streamed(store: ReadOnlyStorage, layer: KitLayer) -> Iterator[Task]:
    """The files of a layer that has to be read from its beginning; at its end it is verified."""
    with store.open(layer.desc) as raw, disk_errors(tempfile.gettempdir()):
        stream = decompressed(raw, layer.compression)
        if layer.kind == "raw":
            size = layer.files[0].size if layer.files is not None else None
            with tempfile.TemporaryFile() as spool:
                _copy(stream, cast(BinaryIO, spool))
                yield Task(layer.path, spool.tell() if size is None else size, descriptor=_flushed(spool))
        else:
            for member, content in TarReader(stream, only=layer.only):
                if member.is_dir:
                    continue
                with tempfile.TemporaryFile() as spool:
                    yield Task(layer.place(member.name), member.size, source=_Spooled(content, cast(BinaryIO, spool)))
        if raw.read(1):
            raise IntegrityError(f"{layer.desc.digest}: more bytes after the end of the layer's {layer.kind}")


class _Spooled:
    """A stream that can be read again: what was asked for so far is kept in a file."""

    def __init__(self, stream: BinaryIO, spool: BinaryIO) -> None:
        self._stream = stream
        self._spool = spool
        self._count = 0
        self._view = memoryview(bytearray(_CHUNK))

    @property
    def size(self) -> int:
        raise RuntimeError("the task says it")

    def read_at(self, offset: int, length: int) -> bytes:
        while self._count < offset + length:
            read = read_some(self._stream, self._view)
            if not read:
                break
            self._spool.seek(0, os.SEEK_END)
            self._spool.write(self._view[:read])
            self._count += read
        self._spool.seek(offset)
        return self._spool.read(length)


class _Far:
    """A layer in a registry."""

    def __init__(self, store: ReadOnlyStorage, desc: Descriptor) -> None:
        self.store = store
        self.desc = desc

    def read_at(self, offset: int, length: int) -> bytes:
        """Not verified, which the report tells."""
        with open_part(self.store, self.desc, offset=offset, length=length) as stream:
            content = bytearray()
            while len(content) < length and (piece := stream.read(length - len(content))):
                content += piece
            return bytes(content)


class _FarPart:
    def __init__(self, far: _Far, offset: int, size: int) -> None:
        self._far = far
        self._offset = offset
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._size - offset)
        return self._far.read_at(self._offset + offset, length) if length > 0 else b""


def _text(path: str, text: str) -> Task:
    raw = text.encode("utf-8")
    return Task(path, len(raw), source=BytesSource(raw))


def _task_of(place: Path, path: str, skipped: list[str], *, follow: bool) -> Iterator[Task]:
    try:
        descriptor = os.open(place, _FLAGS & ~os.O_NOFOLLOW if follow else _FLAGS)
    except FileNotFoundError as error:
        if follow:
            raise NotFoundError(f"{str(place)!a}: no such file, directory or reference") from error
        skipped.append(f"{path}: it is gone")
        return
    except OSError as error:
        is_link = os.path.islink(place)  # noqa: PTH114
        skipped.append(f"{path}: {'a link, which is not followed' if is_link else os.strerror(error.errno or 0)}")
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            yield Task(path, found.st_size, descriptor=descriptor)
        else:
            skipped.append(f"{path}: no regular file")
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error


def _verify(descriptor: int, desc: Descriptor) -> None:
    """Raises: DigestMismatch."""
    hasher = desc.digest.hasher()
    with open(descriptor, "rb", closefd=False, buffering=0) as stream:
        view = memoryview(bytearray(_CHUNK))
        while count := stream.readinto(view):
            hasher.update(view[:count])
    found = Digest.finished(hasher)
    if found != desc.digest:
        raise DigestMismatch(f"{desc.digest}: the content is {found}")


def _copy(stream: BinaryIO, spool: BinaryIO) -> None:
    view = memoryview(bytearray(_CHUNK))
    while count := read_some(stream, view):
        spool.write(view[:count])


def _flushed(spool: object) -> int:
    stream = cast(BinaryIO, spool)
    stream.flush()
    return stream.fileno()


def _shown(place: str, root: Path) -> str:
    """A path below the root, with what is no UTF-8 as escapes."""
    return os.path.relpath(place, root).encode("utf-8", "backslashreplace").decode("utf-8")
