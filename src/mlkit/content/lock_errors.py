"""The wall at which errors of the operating system become errors of the store, and what makes writes durable."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# Some FUSE and network file systems have no fsync; nothing more can be done there, and every write would fail.
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


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


def sync(file: int) -> bool:
    """Make an open file or directory durable; False where the file system has no such thing.

    Never tried twice: after a failure the kernel has dropped the pages. Raises: OSError.
    """
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
        return False
    return True


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
