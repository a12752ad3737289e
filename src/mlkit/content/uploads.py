"""Uploads to registries that were begun and not ended: where another process may go on with them.

One file for each, `.mlkit/uploads/KEY`, locked by whoever is at work on that upload. Readable by its owner alone: the
location of an upload may be all that it takes to write to it. What was saved is a hint, and the registry decides what
it is worth; so nothing here is made durable, and what cannot be read or written is as if it were not there.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mlkit.content.lock import write_all
from mlkit.errors import MlkitError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

KEPT_SECONDS = 7 * 24 * 3600.0
"""Age beyond which an upload is forgotten; registries forget theirs after a day to a week."""

_LIMIT = 64 * 1024  # bytes; a Location may have 8 KiB
_TRIES = 5  # of taking a file that its owner replaces meanwhile


@dataclass(frozen=True, slots=True)
class SavedUpload:
    """What it takes to go on with an upload."""

    location: str
    """The URL that the registry named last. May be a secret."""
    least_chunk: int
    """Bytes that every chunk but the last must have; 0 where the registry did not say."""


class Uploads:
    """Safe for many threads and processes: an upload that somebody is at work on is nobody else's."""

    def __init__(
        self, folder: Path, *, clock: Callable[[], float] = time.time, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        """`clock` gives seconds since the epoch. `warn` is told, once, why nothing can be saved here."""
        self._folder = folder
        self._clock = clock
        self._warn = warn
        self._has_warned = False
        self._has_reaped = False

    @contextmanager
    def claim(self, origin: str, repository: str, digest: Digest) -> Iterator[Claim]:
        """What is known of the upload of one blob, for us alone until the context is left. Raises nothing of its own.

        Where another process or thread is at work on the same upload, the claim knows nothing and saves nothing.
        """
        subject = {"origin": origin, "repository": repository, "digest": str(digest)}
        path = self._folder / sha256(render_json(subject)).hexdigest()
        claim = Claim(path, self._taken(path), subject, self._failed, self._clock() - KEPT_SECONDS)
        try:
            yield claim
        finally:
            claim.close()

    def reap(self) -> None:
        """Forget the uploads that nobody has touched for `KEPT_SECONDS`."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with suppress(OSError):  # no file of ours; it stays
                file = _lock(path, os.O_RDWR)
                if file is not None:
                    if os.fstat(file).st_mtime < self._clock() - KEPT_SECONDS:
                        path.unlink(missing_ok=True)
                    os.close(file)

    def _taken(self, path: Path) -> int | None:
        """The locked file, made where there is none; None where it is somebody else's."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._has_reaped:
                self._has_reaped = True
                self.reap()
            return _lock(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            self._failed(error)
            return None

    def _failed(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(f"{self._folder}: an upload that is interrupted will start over ({error.strerror or error})")


class Claim:
    """One upload, ours until it is closed. Used by one thread at a time."""

    def __init__(
        self,
        path: Path,
        file: int | None,
        subject: dict[str, str],
        failed: Callable[[OSError], None],
        oldest: float,
    ) -> None:
        self._path = path
        self._file = file
        self._subject = subject
        self._failed = failed
        self.saved = None if file is None else _read(file, path, subject, oldest)
        """What was saved last, None where nothing was."""

    @property
    def is_ours(self) -> bool:
        """Whether what is saved lasts: nobody else is at work on this upload, and the file can be written."""
        return self._file is not None

    def save(self, upload: SavedUpload) -> None:
        """Put `upload` in the place of what was saved, all at once."""
        self.saved = upload
        if self._file is None:
            return
        new = self._path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)  # of a process that died here
            file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                # Locked before it has the name, so that there is no moment at which somebody else could take it.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                content = {**self._subject, "location": upload.location, "least_chunk": upload.least_chunk}
                write_all(file, render_json(content))
                new.replace(self._path)
            except OSError:
                os.close(file)
                new.unlink(missing_ok=True)  # it may be what fills the disk
                raise
        except OSError as error:
            self._failed(error)
            return
        os.close(self._file)
        self._file = file

    def forget(self) -> None:
        """The upload has ended."""
        self.saved = None

    def close(self) -> None:
        """Let others have it. A claim under which nothing is saved leaves no file."""
        if self._file is None:
            return
        if self.saved is None:
            with suppress(OSError):  # reaped some day
                self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None


def _lock(path: Path, flags: int) -> int | None:
    """A regular file that is ours alone, opened and locked; None for what is not, or is locked. Raises: OSError."""
    for _ in range(_TRIES):
        try:
            file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            if flags & os.O_CREAT:
                raise
            return None
        is_ours = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found, named = os.fstat(file), path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
                return None
            is_ours = (found.st_dev, found.st_ino) == (named.st_dev, named.st_ino)
            if is_ours:
                return file
        except BlockingIOError:
            return None
        except FileNotFoundError:
            continue  # its owner has ended between our open and our lock
        finally:
            if not is_ours:
                os.close(file)
    return None


def _read(file: int, path: Path, subject: dict[str, str], oldest: float) -> SavedUpload | None:
    if os.fstat(file).st_mtime < oldest:
        return None
    try:
        content = parse_object(os.pread(file, _LIMIT + 1, 0), what=str(path), limit=_LIMIT)
    except MlkitError:
        return None
    location, least_chunk = content.pop("location", None), content.pop("least_chunk", None)
    if content != subject or not isinstance(location, str) or not isinstance(least_chunk, int) or least_chunk < 0:
        return None
    return SavedUpload(location, least_chunk)
