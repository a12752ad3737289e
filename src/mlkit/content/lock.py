"""The store's lock: flock where it works, and a file that only one can create where it does not."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.content.lock_errors import as_store_error, disk_errors, sync, sync_directory, write_all
from mlkit.content.lock_file import LockFile

__all__ = ["StoreLock", "as_store_error", "disk_errors", "sync", "sync_directory", "write_all"]

# What flock(2) says on file systems that have none of it; NFS without its lock daemon says ENOLCK.
_NO_FLOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class StoreLock:
    """An flock on one file: shared while a blob gets its place, exclusive for index changes and prune.

    The kernel releases it when its holder dies. It is not re-entrant, and threads exclude one another as processes do.
    Where flock fails, or lets two in, all of that is done by a `LockFile`, with one warning.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`prepare` is called before a lock is taken by who will write."""
        self._path = path
        self._prepare = prepare
        self._warn = warn
        self._instead: LockFile | None = None
        self._is_proven = False

    @property
    def is_flock(self) -> bool:
        """Whether files here can be told to be in use by locking them; known once the lock has been held."""
        return self._instead is None

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
                is_locked = self._is_flocked(lock, fcntl.LOCK_SH)
            yield is_locked
        finally:
            os.close(lock)

    @contextmanager
    def _held(self, operation: int) -> Iterator[None]:
        self._prepare()
        with disk_errors(self._path):
            lock = self._open()
        try:
            if self._instead is None:
                with disk_errors(self._path):
                    is_held = self._is_flocked(lock, operation)
                if is_held:
                    yield
                    return
                self._instead = LockFile(self._path.with_name(f"{self._path.name}.held"))
                self._warn(
                    f"{self._path.parent}: this file system does not lock files; processes of mlkit keep apart all the "
                    "same, more slowly, and nothing else does"
                )
            with self._instead.held():
                yield
        finally:
            os.close(lock)

    def _is_flocked(self, lock: int, operation: int) -> bool:
        """False where there is no flock, or one that keeps nobody out."""
        try:
            fcntl.flock(lock, operation)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            return False
        if not self._is_proven:
            self._is_proven = not _gets_in(self._path)
        return self._is_proven

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            # A layout of another tool has no .mlkit yet. Its parent must be there: a store that was deleted or
            # unmounted under a run is not made again somewhere else.
            self._path.parent.mkdir(exist_ok=True)
            return os.open(self._path, flags, 0o644)


def _gets_in(path: Path) -> bool:
    """Whether somebody else could take the lock that we hold: then it is none."""
    other = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(other)
    return True
