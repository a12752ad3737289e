"""Where the index of a layout lives: `index.json`, the one before it, and the journal of what each entry was."""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mlkit.content.index import INDEX_LIMIT, LayoutIndex, read_small, replace_file
from mlkit.content.journal import ANOTHER_PROGRAM, Change, Journal, changes_between
from mlkit.content.lock import disk_errors, sync, sync_directory, write_all
from mlkit.content.reconcile import without_loss
from mlkit.errors import ConflictError, StoreError

Result = TypeVar("Result")
_Seen = tuple[int, int, int]
"""Inode, modification time in nanoseconds, and size: another one after every replacement."""

_TRIES = 20  # of a change while other programs, which know of no lock, write the index too
_TORN_WAIT = 0.05  # seconds; they write it in place, and for a moment it is half a document


@dataclass(frozen=True, slots=True)
class Settled:
    """The index, with what another program lost of it."""

    index: LayoutIndex
    found: LayoutIndex
    """What index.json says."""
    lost: tuple[str, ...] = ()
    """Names, or digests of entries without one, that are in `index` and not in index.json, or the other way round."""
    known: LayoutIndex | None = None
    """What mlkit wrote last, where another program has written since."""


class IndexFile:
    """Reads without a lock, since mlkit only ever replaces the file whole; replaces under the exclusive lock."""

    def __init__(
        self, root: Path, control: Path, clock: Callable[[], float], *, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self._path = root / "index.json"
        self._control = control
        self._clock = clock
        self._warn = warn
        self.journal = Journal(control / "journal")
        self.previous = control / "index.json.prev"
        self._cached: tuple[_Seen, LayoutIndex] | None = None
        self._has_warned = False
        self._parsed_last: tuple[str, LayoutIndex] | None = None

    def read(self) -> LayoutIndex:
        """The index as it is now; parsed again only when the file is another one. Raises: StoreError."""
        seen = self._seen()
        if self._cached is not None and seen is not None and self._cached[0] == seen:
            return self._cached[1]
        index = self._when_whole(lambda: self._parsed(self._raw()))
        # Looked at before it was read: a replacement in between is then seen by the next call.
        self._cached = None if seen is None else (seen, index)
        return index

    def settled(self) -> Settled:
        """The index as it should be: with what another program, which knows of no lock, wrote over.

        Raises: StoreError.
        """

        return self._when_whole(self._found)[3]

    def change(self, change: Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Put what `change` makes of the index in its place, and tell the journal; what was lost comes back.

        Raises: StoreError, and then index and journal are as they were; ConflictError where other programs never stop
        writing it.
        """
        for _ in range(_TRIES):
            if self._has_changed(change):
                return
        raise ConflictError(f"{self._path}: other programs write it all the time", hint="try again when they are done")

    def _when_whole(self, work: Callable[[], Result]) -> Result:
        """What `work` gives; again while another program is seen to be at work on the file, in place as they do it."""
        for _ in range(_TRIES):
            seen = self._seen()
            try:
                return work()
            except StoreError:
                time.sleep(_TORN_WAIT)
                if self._seen() == seen:
                    raise
        return work()

    def install(self, index: LayoutIndex) -> None:
        """Write an index where there is none that can be read; under the exclusive lock. Raises: StoreError."""
        content = index.render()
        digest = sha256_of(content)
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # A line that changes nothing: it tells that the document is ours.
        self.journal.append([Change(now, _who(), None, None, None, None, digest, digest)])
        replace_file(self.previous, content, through=self._control / "index.json.prev.new")
        replace_file(self._path, content, through=self._control / "index.json.new")

    def _has_changed(self, change: Callable[[LayoutIndex], LayoutIndex]) -> bool:
        seen, raw, was, settled = self._when_whole(self._found)
        new = change(settled.index)
        content = new.render()
        if content == raw or (
            not settled.lost and new.fields == settled.index.fields and new.lines == settled.index.lines
        ):
            return True
        if self._is_unfinished(self.journal.latest(), was):
            self.journal.cut_last()
        changes = self._changes(settled, new, was, sha256_of(content))
        undo = self.journal.append(changes)
        try:
            is_done = self._replace(content, seen)
        except StoreError:
            if self._seen() == seen:
                self.journal.cut(undo)
            raise
        if not is_done:
            self.journal.cut(undo)
        elif settled.lost:
            shown = ", ".join(settled.lost[:5])
            self._warn(f"index.json was written by another program, which lost what was new: put back {shown}")
        return is_done

    def _found(self) -> tuple[_Seen | None, bytes, str, Settled]:
        seen, raw = self._seen(), self._raw()
        digest = sha256_of(raw)
        return seen, raw, digest, self._settled(raw, digest, seen)

    def _settled(self, raw: bytes, was: str, seen: _Seen | None) -> Settled:
        latest = self.journal.latest()
        if latest is None or latest.index in (None, was) or self._is_unfinished(latest, was):
            index = self._parsed(raw, was)
            return Settled(index, index)
        found = LayoutIndex.parse(raw, what=str(self._path))
        known = self._known(self.journal.last())
        if known is None or seen is None:
            return Settled(found, found)
        merged, lost = without_loss(found, known, self.journal.recent(), written=seen[1] / 1e9)
        return Settled(merged, found, lost, known)

    def _known(self, last: tuple[Change, ...]) -> LayoutIndex | None:
        """What mlkit wrote last: the index before, with the last change. None where that is not there."""
        try:
            before = read_small(self.previous, limit=INDEX_LIMIT)
            if not last or sha256_of(before) != last[-1].was:
                return None
            index = LayoutIndex.parse(before, what=str(self.previous))
        except StoreError:
            return None
        for change in last:
            index = change.applied(index)
        return index

    def _changes(self, settled: Settled, new: LayoutIndex, was: str, index: str) -> list[Change]:
        now = self._clock()
        theirs: list[Change] = []
        if settled.known is not None:
            theirs = changes_between(settled.known, settled.found, now=now, who=ANOTHER_PROGRAM, was=was, index=index)
        # From what was found, so that what is put back is told of too: the index before and these lines give the next.
        ours = changes_between(settled.found, new, now=now, who=_who(), was=was, index=index)
        return [*theirs, *ours]

    def _is_unfinished(self, latest: Change | None, was: str) -> bool:
        """Whether the writer of the last change died between the journal and the index.

        Had it been made, the index before would be kept apart by now; this is no copy of it that somebody put back.
        """
        if latest is None or latest.was != was or latest.index == was:
            return False
        try:
            return self.previous.samefile(self._path) or sha256_of(read_small(self.previous, limit=INDEX_LIMIT)) != was
        except (OSError, StoreError):
            return True

    def _kept(self) -> Path | None:
        """The index under a second name, which costs no writing; None where there are no links.

        There `index.json.prev` is a copy of it at once, and what another program writes late is lost.
        """
        other = self._control / "index.json.prev.new"
        try:
            other.unlink(missing_ok=True)
            os.link(self._path, other, follow_symlinks=False)
        except OSError:
            # A copy for a day that should not come is not worth a wait for the disk at every tag.
            replace_file(self.previous, self._raw(), through=other, is_durable=False)
            return None
        return other

    def _replace(self, content: bytes, seen: _Seen | None) -> bool:
        """False where another program has written the index since it was `seen`."""
        new = self._control / "index.json.new"
        with disk_errors(self._path, needed=len(content)):
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                write_all(file, content)
                if not sync(file) and not self._has_warned:
                    self._has_warned = True
                    self._warn(f"{self._path.parent}: this file system has no fsync: a power cut may take what is new")
            except OSError:
                with suppress(OSError):
                    new.unlink(missing_ok=True)  # it may be what fills the disk
                raise
            finally:
                os.close(file)
            if self._seen() != seen:
                return False
            kept = self._kept()
            new.replace(self._path)
            # Another program may have it open already, and writes into what is the index no more.
            is_late = kept is not None and _look(kept) != seen
            if kept is not None:
                kept.replace(self._path if is_late else self.previous)
                kept.unlink(missing_ok=True)  # two names of one file: rename(2) does nothing
            sync_directory(self._path.parent)
        return not is_late

    def _parsed(self, raw: bytes, sha256: str | None = None) -> LayoutIndex:
        sha256 = sha256 or sha256_of(raw)
        if self._parsed_last is not None and self._parsed_last[0] == sha256:
            return self._parsed_last[1]
        latest = self.journal.latest()
        is_ours = latest is not None and latest.index == sha256
        index = (LayoutIndex.of_lines if is_ours else LayoutIndex.parse)(raw, what=str(self._path))
        self._parsed_last = (sha256, index)
        return index

    def _raw(self) -> bytes:
        return read_small(self._path, limit=INDEX_LIMIT)

    def _seen(self) -> _Seen | None:
        return _look(self._path)


def _look(path: Path) -> _Seen | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def sha256_of(raw: bytes) -> str:
    """The digest of a document as the journal has it."""
    return hashlib.sha256(raw).hexdigest()


@functools.cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _who() -> dict[str, object]:
    return {"user": _user(os.geteuid()), "host": os.uname().nodename, "pid": os.getpid()}
