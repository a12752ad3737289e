"""The sha256 of files where they lie."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import ConflictError, LimitError, NotFoundError, StoreError, UnsafeError
from mlkit.spec.digest import Digest

FILE_LIMIT = 10_000
"""Files of one directory; more of them are a dataset that deserves to be a kit of its own."""
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file and what is in it."""

    path: str
    """Relative to what was asked about, posix; empty for a file that was asked about itself."""
    digest: Digest
    size: int
    """Bytes."""


def file_digests(path: Path) -> Iterator[FileDigest]:
    """A file, or every file below a directory in order of their names; links are followed to files, not to directories.

    Raises: NotFoundError; UnsafeError for what is no file; ConflictError for a file that changes meanwhile; LimitError
    beyond 10,000 files, before any is read; StoreError.
    """
    # Unlike Path.is_dir, this takes a name that is too long for one that is not there.
    if not os.path.isdir(path):  # noqa: PTH112
        yield _digest(path, "")
        return
    names = sorted(
        Path(place, name).relative_to(path).as_posix() for place, _, files in os.walk(path) for name in files
    )
    if len(names) > FILE_LIMIT:
        raise LimitError(
            f"{path}: {len(names)} files are more than the limit of {FILE_LIMIT}",
            hint="pack the directory as a kit, and name the kit",
        )
    for name in names:
        yield _digest(path / name, name)


def _digest(path: Path, name: str) -> FileDigest:
    try:
        # O_NONBLOCK: a pipe must not hang us.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise UnsafeError(f"{path}: neither a file nor a directory")
            hasher = hashlib.sha256()
            buffer = memoryview(bytearray(_BUFFER))
            size = 0
            while count := file.readinto(buffer):
                hasher.update(buffer[:count])
                size += count
            after = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise ConflictError(f"{path}: changed while it was read")
    return FileDigest(name, Digest("sha256", hasher.hexdigest()), size)
