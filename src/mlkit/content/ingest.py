"""Bytes on their way into a layout: a temporary file, hashed as it grows, named when it is sound and durable."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mlkit.content.blobs import Blobs
from mlkit.content.download import Download
from mlkit.content.follow import Follower
from mlkit.content.lock import StoreLock, as_store_error, disk_errors, sync, write_all
from mlkit.content.partial_blob import PARTIAL_LIFE, PartialBlob, PartialOnDisk, is_partial, partials, take_over
from mlkit.content.storage import Resumable
from mlkit.content.verify import read_some
from mlkit.content.writeback import start_writeback
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

_BUFFER = 1 << 20
_FOLLOW_FROM = 8 << 20
"""Bytes after which a second thread takes the hashing over; below, starting one costs more than it gives."""
UNLOCKED_LIFE = 24 * 3600.0
"""Seconds after its last write for which a temporary file is kept on a file system without locks."""
_COPY_STEP = 32 << 20
_WRITEBACK_STEP = 16 << 20
# Errors of the file that is written; all others mean that this pair of files cannot be copied by the kernel.
_TARGET_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class IngestArea:
    """The folder of temporary files of one store. A file in it belongs to a living writer while it is locked."""

    def __init__(self, folder: Path, lock: StoreLock, blobs: Blobs, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = lock
        self._blobs = blobs
        self._has_reaped = False

    @contextmanager
    def writer(self, algorithm: str = "sha256", *, size: int = _BUFFER) -> Iterator[IngestWriter]:
        """A writer of new content, of `size` bytes if that is known; without a commit it leaves nothing behind.

        Raises: StoreError.
        """
        self._reap_once()
        path, file = self._create()
        writer = IngestWriter(file, path, algorithm, min(size, _BUFFER), self.place)
        try:
            yield writer
        finally:
            writer.close()

    def fetch(self, desc: Descriptor, content: Resumable) -> None:
        """Bring a large blob into the store, going on where an earlier process stopped.

        Raises: DigestMismatch, SizeMismatch, and then nothing is kept; StoreError, likewise; what the content raises,
        and then what has arrived is kept for the next process.
        """
        self._reap_once()
        partial = self._take_over(desc)
        keep = True
        try:
            if self._blobs.size(desc.digest) == desc.size:
                keep = False  # somebody else has finished it meanwhile
                return
            Download(partial, desc, content).run()
            partial.freeze()
            self.place(partial.path, desc.digest)
        except (IntegrityError, StoreError):
            # Broken bytes help nobody, and a disk that is full should not stay so.
            keep = False
            raise
        finally:
            partial.close(keep=keep)

    def place(self, path: Path, digest: Digest) -> None:
        """Let a file that is sound and durable be the blob. Raises: StoreError."""
        with self._lock.shared(), disk_errors(self._blobs.path(digest)):
            self._blobs.make(digest.algorithm)
            # Over whatever lies there: the same bytes, or something broken. The folder itself is made durable
            # before an index points at it (Layout._change).
            path.rename(self._blobs.path(digest))

    def partials(self) -> tuple[PartialOnDisk, ...]:
        """The unfinished downloads, those of living processes too. Raises: StoreError."""
        return tuple(partials(self.folder))

    def abandoned(self, before: float) -> tuple[PartialOnDisk, ...]:
        """The unfinished downloads last written before a time that nobody is at work on. Raises: StoreError."""
        return tuple(found for found in self.partials() if found.modified < before and not _is_locked(found.path))

    def reap(self, *, partials_before: float | None = None) -> int:
        """Delete what writers left behind that are dead; gives how many bytes that freed.

        Unfinished downloads stay if they were written after `partials_before`, in seconds since the epoch: by default,
        in the last seven days.
        """
        oldest = self._clock() - PARTIAL_LIFE if partials_before is None else partials_before
        with disk_errors(self.folder):
            if not self.folder.is_dir() or not any(_may_go(path, oldest) for path in self.folder.iterdir()):
                return 0
        freed = 0
        with self._lock.exclusive(), disk_errors(self.folder):
            unlocked_before = None if self._lock.is_flock else self._clock() - UNLOCKED_LIFE
            for path in self.folder.iterdir():
                if _may_go(path, oldest):
                    freed += _reap(path, unlocked_before)
        return freed

    def _reap_once(self) -> None:
        if not self._has_reaped:
            self._has_reaped = True
            self.reap()

    def _take_over(self, desc: Descriptor) -> PartialBlob:
        """The unfinished download of a blob; a file of no name where somebody else has that, or it is not ours."""
        with self._lock.shared(), disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            # Without locks nobody can tell whether another process is at work on it.
            found = take_over(self.folder, desc) if self._lock.is_flock else None
        if found is None:
            path, file = self._create()
            found = PartialBlob(file, path, desc, is_kept=False)
        return found

    def _create(self) -> tuple[Path, int]:
        # Shared: between its creation and its lock, a file looks like that of a dead writer.
        with self._lock.shared(), disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            path = self.folder / f"{os.getpid()}-{os.urandom(8).hex()}"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if self._lock.is_flock:
                    fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                os.close(file)
                path.unlink(missing_ok=True)
                raise
        return path, file


class IngestWriter:
    """A BlobWriter to a file of the store's own file system. Used by one thread at a time."""

    def __init__(
        self, file: int, path: Path, algorithm: str, buffer: int, place: Callable[[Path, Digest], None]
    ) -> None:
        self._file = file
        self._path = path
        self._place = place
        self._hasher = hashlib.new(algorithm)
        self._follower: Follower | None = None
        self._buffer = memoryview(bytearray(max(buffer, 1)))
        self._filled = 0
        self._written = 0
        self._written_back = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append a chunk. Raises: StoreError."""
        view = memoryview(chunk).cast("B")
        if len(view) > len(self._buffer) - self._filled:
            self._flush()
        if len(view) >= len(self._buffer):
            self._append(view)
        else:
            self._buffer[self._filled : self._filled + len(view)] = view
            self._filled += len(view)

    def copy_from(self, source: BinaryIO, count: int) -> None:
        """Append `count` bytes of `source`, by the kernel where both are files. Raises: SizeMismatch, StoreError."""
        left = count
        if count >= _BUFFER and _is_regular_file(source):
            self._flush()
            left -= self._copy_in_kernel(source, count)
        while left:
            if self._filled == len(self._buffer):
                self._flush()
            read = read_some(source, self._buffer[self._filled : self._filled + left])
            if read == 0:
                raise SizeMismatch(f"the content ends after {count - left} bytes (expected {count})")
            self._filled += read
            left -= read

    def commit(self) -> tuple[Digest, int]:
        """Make the content durable and part of the store. Raises: StoreError."""
        return self._commit(None)

    def commit_as(self, desc: Descriptor) -> None:
        """Like `commit`, for content that must be `desc`. Raises: SizeMismatch, DigestMismatch, StoreError."""
        self._commit(desc)

    def close(self) -> None:
        """Drop what was not committed."""
        if self._follower is not None:
            self._follower.abandon()
        os.close(self._file)
        with suppress(OSError):  # an error is on its way already, or the next writer will reap it
            self._path.unlink(missing_ok=True)

    def _commit(self, expected: Descriptor | None) -> tuple[Digest, int]:
        self._flush()
        if expected is not None and self._written != expected.size:
            raise SizeMismatch(f"{expected.digest}: {self._written} bytes (expected {expected.size})")
        with disk_errors(self._path, needed=self._written):
            os.fchmod(self._file, 0o444)
            if self._follower is None:
                digest = self._checked(expected)
                sync(self._file)
            else:
                # The disk finishes while the hash does: the longer of the two counts, not their sum.
                sync(self._file)
                self._follower.finish()
                digest = self._checked(expected)
        self._place(self._path, digest)
        return digest, self._written

    def _checked(self, expected: Descriptor | None) -> Digest:
        found = Digest.finished(self._hasher)
        if expected is not None and found != expected.digest:
            raise DigestMismatch(f"{expected.digest}: the content is {found}")
        return found

    def _flush(self) -> None:
        if self._filled:
            self._append(self._buffer[: self._filled])
            self._filled = 0

    def _append(self, view: memoryview) -> None:
        with disk_errors(self._path, needed=len(view)):
            write_all(self._file, view)
            if self._follower is None:
                self._hasher.update(view)
            self._has_grown(len(view))

    def _copy_in_kernel(self, source: BinaryIO, count: int) -> int:
        """Bytes copied; fewer than `count` where the kernel cannot, or the source ended.

        On file systems that can, copy_file_range shares the extents instead of copying them.
        """
        if not hasattr(os, "copy_file_range"):
            return 0
        start = source.tell()
        done = 0
        while done < count:
            try:
                step = os.copy_file_range(
                    source.fileno(), self._file, min(_COPY_STEP, count - done), offset_src=start + done
                )
            except OSError as error:
                if error.errno in _TARGET_FAULTS:
                    raise as_store_error(error, self._path, needed=count - done) from error
                break
            if step == 0:
                break
            done += step
            with disk_errors(self._path):
                if self._follower is None:
                    self._follower = Follower(self._file, self._hasher, self._written)
                self._has_grown(step)
        source.seek(start + done)
        return done

    def _has_grown(self, count: int) -> None:
        self._written += count
        if self._follower is not None:
            self._follower.advance(self._written)
        elif self._written >= _FOLLOW_FROM:
            self._follower = Follower(self._file, self._hasher, self._written)
        if self._written - self._written_back >= _WRITEBACK_STEP:
            start_writeback(self._file, self._written_back, self._written - self._written_back)
            self._written_back = self._written


def _may_go(path: Path, oldest: float) -> bool:
    """Whether a file is nobody's download, or one that was given up long ago."""
    try:
        return not is_partial(path.name) or path.lstat().st_mtime < oldest
    except FileNotFoundError:
        return False


def _reap(path: Path, unlocked_before: float | None) -> int:
    """Bytes that went. `unlocked_before`: where locks tell nothing, only what nobody has written to since that time."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        if unlocked_before is None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif os.fstat(file).st_mtime >= unlocked_before:
            return 0
        size = os.fstat(file).st_size
        path.unlink()
    except OSError:
        return 0
    finally:
        os.close(file)
    return size


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True  # as good as: it cannot be reaped either
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _is_regular_file(stream: BinaryIO) -> bool:
    try:
        return isinstance(stream, io.IOBase) and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # io.UnsupportedOperation: no file at all
        return False
