"""The private directory in which files wait until all of them are right, and what crashed runs left of theirs.

Each holds a lock file that its run keeps locked; the kernel drops the lock when the run dies, however it dies, and the
next run for the same place removes what nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlkit.archive.directories import OPEN_DIRECTORY

_LOCK = "lock"
_MARK = ".mlkit-partial-"
_RANDOM_BYTES = 8
_NAME_LENGTH = 100
_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Partial:
    """A directory of ours, open and locked."""

    name: str
    directory: int
    lock: int
    above: int
    """The open directory that it lies in."""

    @classmethod
    def create(cls, place: Path, name: str) -> Partial:
        """Make one in `place` for something called `name`. Raises: OSError."""
        above = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for _ in range(_ATTEMPTS):
                own_name = _prefix(name) + secrets.token_hex(_RANDOM_BYTES)
                os.mkdir(own_name, 0o700, dir_fd=above)
                held = _held(own_name, above)
                if held is not None:
                    return cls(own_name, *held, above)
            raise RuntimeError("no private directory could be locked")
        except BaseException:
            os.close(above)
            raise

    def remove(self) -> None:
        """Delete it with all that is in it; what cannot be deleted is left for the next run."""
        _remove(self.name, self.directory, self.above)
        for descriptor in (self.directory, self.lock, self.above):
            os.close(descriptor)


def reap(place: Path, name: str) -> None:
    """Remove what runs that died left in `place` for something called `name`. Never fails: it is only tidying."""
    pattern = re.compile(re.escape(_prefix(name)) + f"[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
    with suppress(OSError):
        above = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for found in os.listdir(above):
                if pattern.fullmatch(found):
                    with suppress(OSError):
                        _reap_one(found, above)
        finally:
            os.close(above)


def _prefix(name: str) -> str:
    return f".{name.encode()[:_NAME_LENGTH].decode(errors='ignore')}{_MARK}"


def _held(name: str, above: int) -> tuple[int, int] | None:
    """The descriptors of a new directory and its lock; None where another run took it for a dead one's."""
    try:
        directory = os.open(name, OPEN_DIRECTORY, dir_fd=above)
    except FileNotFoundError:
        return None
    try:
        lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except FileNotFoundError:
        os.close(directory)
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(lock), os.stat(_LOCK, dir_fd=directory))
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    except OSError:
        # No locks on this file system: then nobody else can lock it either, and it is never reaped.
        is_ours = True
    if is_ours:
        return directory, lock
    os.close(lock)
    os.close(directory)
    return None


def _reap_one(name: str, above: int) -> None:
    directory = os.open(name, OPEN_DIRECTORY, dir_fd=above)
    try:
        status = os.fstat(directory)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            return
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            # Just being made, or left before the lock was: either way it is empty, or it is not one of ours.
            os.rmdir(name, dir_fd=above)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _gets_in(directory):
                _remove(name, directory, above)
        finally:
            os.close(lock)
    finally:
        os.close(directory)


def _remove(name: str, directory: int, above: int) -> None:
    """The lock goes last: what is left when this fails or dies half-way is then still known as nobody's."""
    with suppress(OSError):
        for found in os.listdir(directory):
            if found != _LOCK:
                shutil.rmtree(found, ignore_errors=True, dir_fd=directory)
        if os.listdir(directory) == [_LOCK]:
            os.unlink(_LOCK, dir_fd=directory)
            os.rmdir(name, dir_fd=above)


def _gets_in(directory: int) -> bool:
    """Whether a lock that we hold can be taken once more: on such a file system it does not tell who is alive."""
    other = os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(other)
    return True
