"""Reading files that must not change meanwhile: no link followed, only a regular file, and the same one afterwards."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mlkit.archive.walk import SourceFile
from mlkit.errors import ConflictError, StoreError

# O_NONBLOCK: a named pipe that took the file's place since the walk must not block the open.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_source(file: SourceFile) -> Iterator[io.FileIO]:
    """The open file, unbuffered; leaving the context normally asserts that it did not change.

    Raises: ConflictError where it is not, or no longer, the file that was planned.
    """
    descriptor = _open(file)
    try:
        check_unchanged(file, descriptor)
        with io.FileIO(descriptor, closefd=False) as stream:
            yield stream
        check_unchanged(file, descriptor)
    finally:
        os.close(descriptor)


def read_source(file: SourceFile) -> bytes:
    """All bytes of a small file. Raises: ConflictError like `open_source`.

    The same as reading from `open_source`, without what a context manager and a stream object cost per file, and with
    one look at the file: if it is the planned one after the reading, then that is what was read.
    """
    descriptor = _open(file)
    try:
        content = os.read(descriptor, file.size + 1)
        while 0 < len(content) < file.size:  # network file systems may hand over less than was asked for
            more = os.read(descriptor, file.size - len(content) + 1)
            if not more:
                break
            content += more
        check_unchanged(file, descriptor)
    except OSError as error:
        raise _unreadable(file, error) from error
    finally:
        os.close(descriptor)
    if len(content) != file.size:
        raise changed(file)
    return content


def check_unchanged(file: SourceFile, descriptor: int) -> None:
    """Compare the open file with what the walk saw. Raises: ConflictError."""
    now, planned = os.fstat(descriptor), file.stat
    if (
        now.st_mtime_ns != planned.st_mtime_ns
        or now.st_size != planned.st_size
        or now.st_ctime_ns != planned.st_ctime_ns  # a writer can set the mtime back, but not this
        or now.st_ino != planned.st_ino
        or now.st_dev != planned.st_dev
        or not stat.S_ISREG(now.st_mode)
    ):
        raise changed(file)


def changed(file: SourceFile) -> ConflictError:
    """The error for a file that is not what it was."""
    return ConflictError(
        f"{file.path!a} changed while packing (it had {file.size} bytes)",
        hint="pack again when nothing writes to it; no tag has moved",
    )


def _open(file: SourceFile) -> int:
    try:
        return os.open(file.real, _FLAGS)
    except FileNotFoundError as error:
        raise changed(file) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: SourceFile, error: OSError) -> ConflictError | StoreError:
    # ELOOP: a link took the file's place. EAGAIN: a pipe did. EISDIR: a directory did.
    if isinstance(error, (BlockingIOError, IsADirectoryError)) or os.path.islink(file.real):  # noqa: PTH114
        return changed(file)
    return StoreError(f"{file.path!a} cannot be read: {os.strerror(error.errno or 0)}")
