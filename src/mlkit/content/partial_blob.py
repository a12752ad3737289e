"""A blob that is not all here yet, in a file that outlives the process which fetches it.

`.mlkit/ingest/ALGORITHM-HEX.part` holds the bytes at their own places. While they came in order it ends after the last
one. With gaps it ends with a note of what is there, behind the place of the blob's last byte; the note is written after
the bytes it tells of, and before the first of them that leaves a gap. It need not be believed: the whole file is hashed
before it becomes a blob.

Only a regular file with one name that belongs to us, that nobody else may write to and that no living process has
locked is gone on with.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlkit.content.blobs import ALGORITHMS
from mlkit.content.lock import disk_errors, sync
from mlkit.content.spans import Spans
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

PARTIAL_LIFE = 7 * 24 * 3600.0
"""Seconds for which the bytes of a download that was interrupted are kept: a week-end and the days around it."""
_SUFFIX = ".part"
_NOTE_SIZE = 2048
"""Bytes of the note, always: the size of the file then tells whether there is one."""
_NOTED_PARTS = 32
"""Parts that fit into a note for certain, and four times as many as there are connections."""
_NOTE_STEP = 4 << 20
"""Bytes after which the note is written anew: as many are fetched again at most after a kill."""
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags for open(2): a link is not followed, and a pipe in the place of the file does not hang us."""
# What open(2) says of links, folders, devices without a driver, and files that are not ours to write.
_NOT_OURS = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENODEV}


@dataclass(frozen=True, slots=True)
class PartialOnDisk:
    """An unfinished download, as a listing of the folder shows it."""

    digest: Digest
    path: Path
    size: int
    """Bytes that it takes up on the disk."""
    modified: float
    """Seconds since the epoch."""


def partials(folder: Path) -> Iterator[PartialOnDisk]:
    """The unfinished downloads in a folder, whether somebody is at work on them or not."""
    with disk_errors(folder):
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                digest = _digest(entry.name)
                if digest is not None and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield PartialOnDisk(digest, Path(entry.path), found.st_blocks * 512, found.st_mtime)


def take_over(folder: Path, desc: Descriptor) -> PartialBlob | None:
    """The unfinished download of a blob, or a new one, locked; None where it is not ours to go on with.

    Between its creation and its lock the file looks abandoned: the caller holds off who removes such.
    """
    path = folder / f"{desc.digest.algorithm}-{desc.digest.hex}{_SUFFIX}"
    file = _opened(path)
    if file is None:
        return None
    try:
        if not _is_ours(file) or not _is_locked(file) or not _is_at(file, path):
            os.close(file)
            return None
        return PartialBlob(file, path, desc, is_kept=True)
    except BaseException:
        with suppress(OSError):
            os.close(file)
        raise


class PartialBlob:
    """The file, open and locked by us, as a Landing whose bytes outlive the run."""

    is_durable = True

    def __init__(self, file: int, path: Path, desc: Descriptor, *, is_kept: bool) -> None:
        """`is_kept`: others may go on with it when we are gone."""
        self.file = file
        self.path = path
        self._desc = desc
        self._is_kept = is_kept
        self._lock = threading.Lock()
        size = os.fstat(file).st_size
        self._has_note = size > desc.size
        self._spans = self._noted(size) if self._has_note else Spans([(0, size)])
        self._noted_total = self._spans.total
        if self._has_note and not self._spans.total:
            self.clear()

    @property
    def spans(self) -> Spans:
        """A copy of what is there."""
        with self._lock:
            return Spans(self._spans.parts)

    def clear(self) -> None:
        """Begin again with nothing. Raises: StoreError."""
        with self._lock, disk_errors(self.path):
            self._spans = Spans()
            self._noted_total = 0
            self._has_note = False
            os.ftruncate(self.file, 0)

    def write(self, offset: int, view: memoryview) -> int:
        """Put bytes in their place; how many there are now from the first on without a gap. Raises: StoreError."""
        with self._lock:
            if offset > self._spans.prefix and not self._has_note:
                self._note()
        with disk_errors(self.path, needed=len(view)):
            done = 0
            while done < len(view):
                done += os.pwrite(self.file, view[done:], offset + done)
        with self._lock:
            self._spans.add(offset, offset + len(view))
            if self._has_note and self._spans.total - self._noted_total >= _NOTE_STEP:
                self._note()
            return self._spans.prefix

    def complete(self) -> None:
        """Everything is there: what follows is not the blob's, and the rest is made durable. Raises: OSError."""
        if self._has_note:
            os.ftruncate(self.file, self._desc.size)
            self._has_note = False
        sync(self.file)

    def guarded(self) -> AbstractContextManager[None]:
        """See `Landing`: a StoreError that names the file."""
        return disk_errors(self.path, needed=self._desc.size)

    def freeze(self) -> None:
        """Let nobody write to it any more; last, since no other process could go on with it. Raises: StoreError."""
        with disk_errors(self.path):
            os.utime(self.file)  # prune goes by the time of the last write, which may be that of another day's process
            os.fchmod(self.file, 0o444)

    def close(self, *, keep: bool) -> None:
        """Let go of the file. `keep`: its bytes may be good, and the next process may have them."""
        try:
            with suppress(OSError):  # an error is on its way already, or the file is gone, which is as well
                if keep and self._is_kept and self._spans.total:
                    self._tidy()
                else:
                    self.path.unlink(missing_ok=True)
        finally:
            os.close(self.file)

    def _tidy(self) -> None:
        if self._spans.total > self._spans.prefix:  # also where nothing but a later part has arrived
            self._note()
        elif self._has_note:
            os.ftruncate(self.file, self._spans.prefix)

    def _note(self) -> None:
        """A note that is cut off in the middle reads as none, and then nothing is there."""
        written = [list(part) for part in self._spans.parts[:_NOTED_PARTS]]
        with disk_errors(self.path):
            os.pwrite(self.file, render_json({"written": written}).ljust(_NOTE_SIZE), self._desc.size)
        self._has_note = True
        self._noted_total = self._spans.total

    def _noted(self, size: int) -> Spans:
        if size != self._desc.size + _NOTE_SIZE:
            return Spans()
        try:
            found = parse_object(os.pread(self.file, _NOTE_SIZE, self._desc.size), what=str(self.path))
            return _checked(found.get("written"), self._desc.size)
        except (IntegrityError, LimitError):
            return Spans()


def _checked(written: object, size: int) -> Spans:
    """The parts, if they are parts of the blob, in order and apart."""
    spans, edge = Spans(), -1
    if not isinstance(written, list):
        return spans
    for part in written:
        match part:
            # JSON's true is an int to Python.
            case [int(start), int(end)] if type(start) is type(end) is int and edge < start < end <= size:
                spans.add(start, end)
                edge = end
            case _:
                return Spans()
    return spans


def _opened(path: Path) -> int | None:
    """The file, made where there is none; None where we may not write to it."""
    for _ in range(2):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | _SAFELY, 0o600)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            if error.errno != errno.EACCES or not _thaw(path):
                return None
    return None


def _thaw(path: Path) -> bool:
    """Let a file be written to again whose process froze it and died before it became a blob; whether it is one."""
    try:
        file = os.open(path, os.O_RDONLY | _SAFELY)
    except OSError as error:
        if error.errno in _NOT_OURS or error.errno == errno.ENOENT:
            return False
        raise
    try:
        is_frozen = _is_ours(file) and not os.fstat(file).st_mode & stat.S_IWUSR
        # Its process may have made a blob of it meanwhile, which must stay as it is.
        is_frozen = is_frozen and _is_locked(file) and _is_at(file, path)
        if is_frozen:
            os.fchmod(file, 0o600)
        return is_frozen
    finally:
        os.close(file)


def _is_ours(file: int) -> bool:
    """A second name, another owner or leave for others to write: somebody else could change what we verified."""
    found = os.fstat(file)
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid == os.geteuid()
        and found.st_nlink == 1
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether the path still leads to the file: who held the lock before us may have made a blob of it."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def is_partial(name: str) -> bool:
    """Whether a file of the ingest folder is an unfinished download by its name."""
    return _digest(name) is not None


def _digest(name: str) -> Digest | None:
    algorithm, _, rest = name.partition("-")
    if algorithm not in ALGORITHMS or not rest.endswith(_SUFFIX):
        return None
    try:
        return Digest.parse(f"{algorithm}:{rest.removesuffix(_SUFFIX)}")
    except IntegrityError:
        return None
