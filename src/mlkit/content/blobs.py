"""The folder `blobs/` of a layout: one regular file per digest. Whatever else lies there is refused (B21)."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlkit.content.lock import as_store_error, disk_errors, sync_directory
from mlkit.errors import IntegrityError, NotFoundError, SizeMismatch, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ALGORITHMS = ("sha256", "sha512")
_CHUNK = 1 << 20  # bytes; less lets hashing threads fight over the interpreter's lock

Trouble = tuple[Literal["damaged", "unreadable", "misplaced"], str]
"""What is wrong with a blob, and that in words."""


@dataclass(frozen=True, slots=True)
class BlobOnDisk:
    """A blob as a listing of the folder shows it."""

    digest: Digest
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch; when it was written, or last found to be still of use."""


class Blobs:
    """The blobs below `root`; nothing here takes a lock."""

    def __init__(self, root: Path) -> None:
        self._root = root / "blobs"

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would."""
        return self._root / digest.algorithm / digest.hex

    def size(self, digest: Digest) -> int | None:
        """Bytes of the file; None where there is none, or something that is no regular file."""
        try:
            found = os.lstat(self.path(digest))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise as_store_error(error, self.path(digest)) from error
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open(self, desc: Descriptor) -> io.FileIO:
        """The file at its start; its bytes are not verified, its size is.

        Raises: NotFoundError; IntegrityError for links, folders, pipes; SizeMismatch.
        """
        path = self.path(desc.digest)
        try:
            # O_NONBLOCK: a pipe in the place of a blob must not hang us.
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{desc.digest}: not in the store {self._root.parent}") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise _not_a_file(desc.digest) from error
            raise as_store_error(error, path) from error
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            os.close(file)
            raise _not_a_file(desc.digest)
        if found.st_size != desc.size:
            os.close(file)
            raise SizeMismatch(
                f"{desc.digest}: the store holds {found.st_size} bytes (expected {desc.size})", content=str(desc.digest)
            )
        return _BlobFile(file, path)

    def touch(self, digest: Digest) -> bool:
        """Tell prune that the blob is of use, if there is one. Where nothing can be written, no prune runs either."""
        try:
            os.utime(self.path(digest), follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise as_store_error(error, self.path(digest)) from error
        return True

    def problem(self, digest: Digest, stop: threading.Event | None = None) -> Trouble | None:
        """What is wrong with the bytes of a blob, None for nothing, or where `stop` was set before all were read.

        Raises: NotFoundError where there is none.
        """
        size = self.size(digest) or 0
        hasher, view = digest.hasher(), memoryview(bytearray(min(_CHUNK, max(size, 1))))
        try:
            with self.open(Descriptor(OCTET_STREAM, digest, size)) as file:
                while count := file.readinto(view):
                    hasher.update(view[:count])
                    if stop is not None and stop.is_set():
                        return None
        except IntegrityError:
            return "misplaced", "in its place is something that is no regular file"
        except StoreError as error:
            return "unreadable", f"cannot be read: {error.message}"
        found = Digest.finished(hasher)
        return None if found == digest else ("damaged", f"its bytes are those of {found.algorithm}:{found.short}")

    def remove(self, digest: Digest) -> bool:
        """Delete the file; False where there is none."""
        with disk_errors(self.path(digest)):
            try:
                self.path(digest).unlink()
            except FileNotFoundError:
                return False
        return True

    def listing(self) -> Iterator[BlobOnDisk]:
        """Every regular file whose name is a digest; others are left alone."""
        for algorithm in ALGORITHMS:
            with disk_errors(self._root / algorithm):
                try:
                    entries = os.scandir(self._root / algorithm)
                except FileNotFoundError:
                    continue
                with entries:
                    for entry in entries:
                        digest = _digest(algorithm, entry.name)
                        if digest is not None and entry.is_file(follow_symlinks=False):
                            found = entry.stat(follow_symlinks=False)
                            yield BlobOnDisk(digest, found.st_size, found.st_mtime)

    def make(self, algorithm: str) -> Path:
        """The folder of an algorithm, made where it is missing."""
        folder = self._root / algorithm
        if not folder.is_dir():
            self._root.mkdir(exist_ok=True)
            folder.mkdir(exist_ok=True)
            sync_directory(self._root)
        return folder

    def sync(self) -> None:
        """Make the names of all blobs durable: due before an index points at them."""
        for algorithm in ALGORITHMS:
            with disk_errors(self._root / algorithm):
                if (self._root / algorithm).is_dir():
                    sync_directory(self._root / algorithm)


class _BlobFile(io.FileIO):
    """A file whose read errors are the store's: a bad disk is no tampering."""

    def __init__(self, file: int, path: Path) -> None:
        super().__init__(file, "rb")
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with disk_errors(self._path):
            return super().readinto(buffer)

    def read(self, size: int | None = -1, /) -> bytes:
        with disk_errors(self._path):
            return super().read(size)

    def readall(self) -> bytes:
        with disk_errors(self._path):
            return super().readall()


def _not_a_file(digest: Digest) -> IntegrityError:
    return IntegrityError(f"{digest}: what lies in its place in the store is not a regular file", content=str(digest))


def _digest(algorithm: str, name: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{name}")
    except IntegrityError:
        return None
