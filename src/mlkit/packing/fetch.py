"""Bytes of layers into staged files, verified on the way.

A file is trusted only when its layer's digest, or its own, has been found right; until then it lies in a staging
folder that a failure removes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, cast

from mlkit.archive.compression import decompressed
from mlkit.archive.extract import FileSeen, Folder, extract_tar
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.content.beside import HashedBeside
from mlkit.content.download import Download
from mlkit.content.far import FarContent, is_far
from mlkit.content.follow import Follower
from mlkit.content.landing import FreshFile
from mlkit.content.lock import write_all
from mlkit.content.pace import Connections
from mlkit.content.storage import ReadOnlyStorage, open_part
from mlkit.content.verify import MeteredReader, read_some, unverified
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch
from mlkit.packing.kit_layer import KitLayer
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord
from mlkit.spec.media_types import OCTET_STREAM

if TYPE_CHECKING:
    from hashlib import _Hash

    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
_FOLLOW_FROM = 8 << 20
"""Bytes of a layer from which on a second thread hashes; below, starting one costs more than it gives."""
_COPY_STEP = 32 << 20
_RUN_GAP = 256 << 10
"""Bytes between two files of a tar that are rather read and dropped than asked for around."""
# Errors of the file that is written; all others mean that this pair of files cannot be copied by the kernel.
_TARGET_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}

Moved = Callable[[int], None]
"""Told of bytes read from the store, by several threads perhaps; raises where the work should stop."""


def write_raw(
    store: ReadOnlyStorage,
    layer: KitLayer,
    targets: Sequence[FileRecord],
    folder: Folder,
    moved: Moved,
    *,
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> None:
    """A raw layer into each of the target files; one byte is read once, however many targets there are.

    A large one of another machine arrives as `mlkit.content.download` brings it, over as many `connections` as pay.
    Raises: DigestMismatch, SizeMismatch.
    """
    with ExitStack() as stack:
        first, *others = [
            stack.enter_context(folder.file(target.path, mode=target.mode)).fileno() for target in targets
        ]
        if layer.compression != "none":
            _write_decompressed(store, layer, first, moved, limits)
        elif layer.desc.size >= _FOLLOW_FROM and is_far(store, layer.desc):
            Download(FreshFile(first), layer.desc, FarContent(store, layer.desc, connections, moved=moved)).run()
        else:
            with store.open(layer.desc) as stream:
                _write_verified(stream, layer.desc, first, moved)
        for other in others:
            _copy(first, other, layer.size)


def write_decompressed_raw(
    store: ReadOnlyStorage, layer: KitLayer, folder: Folder, moved: Moved, *, limits: Limits = DEFAULT_LIMITS
) -> FileRecord:
    """A compressed raw layer of a foreign kit, of which nobody knew the size before. Raises: IntegrityError."""
    with folder.file(layer.path, mode=layer.mode) as target:
        digest = _write_decompressed(store, layer, target.fileno(), moved, limits)
        return FileRecord(layer.path, os.fstat(target.fileno()).st_size, layer.mode, digest, 0)


def write_tar(
    store: ReadOnlyStorage,
    layer: KitLayer,
    folder: Folder,
    moved: Moved,
    *,
    wanted: Callable[[str], bool] | None,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[FileSeen, ...]:
    """The wanted files of a tar layer, by their names in it; None takes all, and directories without files too.

    The layer is read to its end, so that all of it is verified.
    Raises: IntegrityError where the layer, or a file in it, is not what the kit says; UnsafeError for archives that no
    kit may hold.
    """
    known = None if layer.files is None else {file.path: file for file in layer.files}
    names: list[str] = []

    def is_wanted(name: str) -> bool:
        names.append(name)
        return wanted is None or wanted(name)

    with store.open(layer.desc) as raw, _counted(raw, layer.desc, moved) as counted:
        # Without compression the layer's own digest, which the store verifies, is the diffID.
        hashing = (
            None if layer.compression == "none" else _Hashing(decompressed(counted, layer.compression, limits=limits))
        )
        stream = counted if hashing is None else _binary(hashing)
        seen = extract_tar(
            stream, folder, wanted=wanted if known is None else is_wanted, only=layer.only, limits=limits
        )
        _finish(stream, layer)
        _finish(counted, layer)
        if hashing is not None:
            _check_diff_id(layer, Digest.finished(hashing.hasher))
    if known is not None:
        _check_seen(layer, known, names, seen)
    return seen


def write_ranges(
    store: ReadOnlyStorage, layer: KitLayer, files: Sequence[FileRecord], folder: Folder, moved: Moved
) -> None:
    """Some files of an uncompressed tar layer, reading little else; each is verified by its own digest.

    Raises: DigestMismatch, SizeMismatch.
    """
    for run in runs(files):
        position = run[0].offset
        length = run[-1].offset + run[-1].size - position
        with open_part(store, layer.desc, offset=position, length=length) as stream:
            for file in run:
                _skip(stream, file.offset - position, layer, moved)
                with folder.file(file.path, mode=file.mode) as target:
                    _copy_range(stream, file, target.fileno(), moved, layer)
                position = file.offset + file.size


def runs(files: Sequence[FileRecord]) -> list[list[FileRecord]]:
    """Files in the order of their offsets, those that lie close together in one list."""
    found: list[list[FileRecord]] = []
    end = 0
    for file in sorted(files, key=lambda file: file.offset):
        if found and file.offset - end <= _RUN_GAP:
            found[-1].append(file)
        else:
            found.append([file])
        end = file.offset + file.size
    return found


def file_descriptor(file: FileRecord) -> Descriptor:
    """What a VerifyReader needs to know of one file in a layer."""
    return Descriptor(OCTET_STREAM, file.digest, file.size)


def _counted(stream: BinaryIO, desc: Descriptor, moved: Moved) -> BinaryIO:
    """What a store opened, to be closed before that is; verified, that of a large layer by a second thread."""
    if desc.size < _FOLLOW_FROM:
        return _binary(MeteredReader(stream, moved))
    return _binary(HashedBeside(_binary(MeteredReader(unverified(stream), moved)), desc))


def _write_verified(stream: BinaryIO, desc: Descriptor, target: int, moved: Moved) -> None:
    if desc.size < _FOLLOW_FROM:
        _write_through(stream, target, moved)
        return
    # What was written is hashed by a second thread, so the bytes need not be hashed on their way, and a file of a local
    # store need not come up from the kernel at all.
    source = unverified(stream)
    hasher = desc.digest.hasher()
    follower = Follower(target, hasher, 0)
    try:
        written = _copy_in_kernel(source, target, desc.size, follower, moved) if _is_regular(source) else 0
        view = memoryview(bytearray(CHUNK))
        # One byte more than there should be is enough to know.
        while written <= desc.size and (count := read_some(source, view[: desc.size + 1 - written])):
            write_all(target, view[:count])
            written += count
            follower.advance(written)
            moved(count)
        if written != desc.size:
            raise SizeMismatch(
                f"{desc.digest}: {'more' if written > desc.size else 'fewer'} than {desc.size} bytes",
                content=str(desc.digest),
            )
        follower.finish()
    finally:
        follower.abandon()
    if Digest.finished(hasher) != desc.digest:
        raise DigestMismatch(f"{desc.digest}: the content is {Digest.finished(hasher)}", content=str(desc.digest))


def _write_through(stream: BinaryIO, target: int, moved: Moved) -> None:
    view = memoryview(bytearray(CHUNK))
    while count := read_some(stream, view):
        write_all(target, view[:count])
        moved(count)


def _write_decompressed(store: ReadOnlyStorage, layer: KitLayer, target: int, moved: Moved, limits: Limits) -> Digest:
    hasher = hashlib.sha256() if layer.diff_id is None else layer.diff_id.hasher()
    expected = None if layer.files is None else layer.files[0].size
    written = 0
    with store.open(layer.desc) as raw:
        counted = _binary(MeteredReader(raw, moved))
        stream = decompressed(counted, layer.compression, limits=limits)
        view = memoryview(bytearray(CHUNK))
        while count := read_some(stream, view):
            written += count
            if expected is not None and written > expected:
                raise SizeMismatch(
                    f"{layer.desc.digest}: {layer.path} is more than the {expected} bytes of the kit",
                    content=str(layer.desc.digest),
                )
            hasher.update(view[:count])
            write_all(target, view[:count])
        _finish(counted, layer)
    digest = Digest.finished(hasher)
    _check_diff_id(layer, digest)
    return digest


def _copy_in_kernel(source: BinaryIO, target: int, size: int, follower: Follower, moved: Moved) -> int:
    """Bytes copied; fewer than `size` where the kernel cannot. Shares extents on file systems that can."""
    if not hasattr(os, "copy_file_range"):
        return 0
    done = 0
    while done < size:
        try:
            step = os.copy_file_range(source.fileno(), target, min(_COPY_STEP, size - done))
        except OSError as error:
            if error.errno in _TARGET_FAULTS:
                raise
            break
        if step == 0:
            break
        done += step
        follower.advance(done)
        moved(step)
    return done


def _copy(source: int, target: int, size: int) -> None:
    """A staged file, already verified, once more."""
    position = 0
    while position < size:
        step = os.sendfile(target, source, position, size - position)
        if step == 0:
            raise SizeMismatch(f"a staged file shrank to {position} bytes (expected {size})")
        position += step


def _copy_range(stream: BinaryIO, file: FileRecord, target: int, moved: Moved, layer: KitLayer) -> None:
    hasher = hashlib.sha256()
    view = memoryview(bytearray(min(CHUNK, max(file.size, 1))))
    left = file.size
    while left:
        count = read_some(stream, view[: min(left, len(view))])
        if count == 0:
            raise SizeMismatch(
                f"{file.path!a}: the layer ends {left} bytes before the file does", content=str(layer.desc.digest)
            )
        hasher.update(view[:count])
        write_all(target, view[:count])
        left -= count
        moved(count)
    if Digest.finished(hasher) != file.digest:
        raise DigestMismatch(
            f"{file.path!a}: the content is {Digest.finished(hasher)} (expected {file.digest})",
            content=str(layer.desc.digest),
        )


def _skip(stream: BinaryIO, count: int, layer: KitLayer, moved: Moved) -> None:
    view = memoryview(bytearray(min(CHUNK, max(count, 1))))
    while count:
        read = read_some(stream, view[: min(count, len(view))])
        if read == 0:
            raise SizeMismatch(
                f"{layer.desc.digest}: the layer ends before its last file", content=str(layer.desc.digest)
            )
        count -= read
        moved(read)


def _finish(stream: BinaryIO, layer: KitLayer) -> None:
    """Make sure of the end: a verifying reader has compared its digest only then."""
    if stream.read(1):
        raise IntegrityError(f"{layer.desc.digest}: more bytes after the end of the layer's {layer.kind}")


def _check_diff_id(layer: KitLayer, found: Digest) -> None:
    if layer.diff_id is not None and layer.diff_id != found:
        raise IntegrityError(f"{layer.desc.digest}: uncompressed it is {found} (expected diffID {layer.diff_id})")


def _check_seen(layer: KitLayer, known: dict[str, FileRecord], names: Sequence[str], seen: Sequence[FileSeen]) -> None:
    found = set(names)
    if found != known.keys():
        odd = min(found ^ known.keys())
        raise IntegrityError(
            f"{layer.desc.digest}: {ascii(odd)[:200]} is in "
            + ("the layer but not in the kit document" if odd in found else "the kit document but not in the layer")
        )
    for file in seen:
        record = known[file.path]
        if (file.size, file.digest) != (record.size, record.digest):
            raise IntegrityError(
                f"{layer.desc.digest}: {ascii(file.path)[:200]} is {file.digest} (expected {record.digest})"
            )


def _is_regular(stream: BinaryIO) -> bool:
    try:
        return isinstance(stream, io.IOBase) and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # io.UnsupportedOperation: no file at all
        return False


def _binary(stream: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, stream)


class _Hashing(io.RawIOBase):
    """Hashes every byte that is read."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.hasher: _Hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = read_some(self._stream, view)
        self.hasher.update(view[:count])
        return count
