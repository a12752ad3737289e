"""The store's lock, and the wall at which errors of the operating system become errors of the store."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# Some FUSE and network file systems have no fsync; nothing more can be done there, and every write would fail.
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


class StoreLock:
    """An flock on one file: shared while a blob gets its place, exclusive for index changes and prune.

    The kernel releases it when its holder dies. It is not re-entrant, and threads exclude one another as processes do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Held together with other shared holders. Raises: StoreError where the store cannot be written."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held alone. Raises: StoreError where the store cannot be written."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def shared_if_there_is_one(self) -> Iterator[bool]:
        """For readers: held where a lock file exists and can be opened, which it need not on a read-only store."""
        try:
            lock = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            yield False
            return
        try:
            with disk_errors(self._path):
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield True
        finally:
            os.close(lock)

    @contextmanager
    def _held(self, operation: int) -> Iterator[None]:
        with disk_errors(self._path):
            lock = self._open()
        try:
            with disk_errors(self._path):
                fcntl.flock(lock, operation)
            yield
        finally:
            os.close(lock)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            # A layout of another tool has no .mlkit yet. Its parent must be there: a store that was deleted or
            # unmounted under a run is not made again somewhere else.
            self._path.parent.mkdir(exist_ok=True)
            return os.open(self._path, flags, 0o644)


@contextmanager
def disk_errors(path: Path | str, *, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError into a StoreError that names `path`, and the bytes `needed` where a disk is full."""
    try:
        yield
    except OSError as error:
        raise as_store_error(error, path, needed=needed) from error


def as_store_error(error: OSError, path: Path | str, *, needed: int | None = None) -> StoreError:
    """The StoreError that tells of `error` at `path`."""
    if error.errno in _FULL:
        wish = "" if needed is None else f" for {needed} bytes"
        return StoreError(
            f"{path}: no space left{wish}",
            hint="free some space, or run `mlkit prune`, and give the same command again",
        )
    if error.errno == errno.EFBIG:
        return StoreError(f"{path}: the file would be larger than this system allows", hint="see `ulimit -f`")
    if error.errno in _READ_ONLY:
        return StoreError(f"{path}: the store cannot be written here ({os.strerror(error.errno)})")
    if error.errno == errno.ENOENT:
        return StoreError(f"{path}: is gone", hint="was the store moved, deleted or unmounted?")
    return StoreError(f"{path}: {error.strerror or error}")


def sync(file: int) -> None:
    """Make an open file or directory durable. Never tried twice: after a failure the kernel has dropped the pages."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(directory)
    finally:
        os.close(directory)


def write_all(file: int, content: bytes | bytearray | memoryview) -> None:
    """Write every byte: one call to the kernel may take fewer."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
