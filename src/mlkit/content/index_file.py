"""Where the index of a layout lives: `index.json`, the one before it, and the journal of what each name pointed at."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mlkit.content.index import LayoutIndex, read_index, replace_file
from mlkit.content.lock import disk_errors, write_all
from mlkit.errors import StoreError
from mlkit.spec.json_text import render_json

_Seen = tuple[int, int, int]
"""Inode, modification time in nanoseconds, and size: another one after every replacement."""


class IndexFile:
    """Reads without a lock, since the file is only ever replaced whole; replaces under the exclusive lock."""

    def __init__(self, root: Path, control: Path, clock: Callable[[], float]) -> None:
        self._path = root / "index.json"
        self._control = control
        self._clock = clock
        self._cached: tuple[_Seen, LayoutIndex] | None = None

    def read(self) -> LayoutIndex:
        """The index as it is now; parsed again only when the file is another one. Raises: StoreError."""
        seen = self._seen()
        if self._cached is not None and seen is not None and self._cached[0] == seen:
            return self._cached[1]
        index = read_index(self._path)
        # Looked at before it was read: a replacement in between is then seen by the next call.
        self._cached = None if seen is None else (seen, index)
        return index

    def replace(self, new: LayoutIndex) -> None:
        """Put `new` in the place of the index, which is kept as the one before, and tell the journal.

        Raises: StoreError, and then index and journal are as they were.
        """
        old = read_index(self._path)
        content = new.render()
        if content == old.render():
            return
        before = self._seen()
        previous = self._control / "index.json.prev"
        # A copy for a day that should not come, and no day is worth two more waits for the disk at every tag.
        replace_file(previous, old.render(), through=self._control / "index.json.prev.new", is_durable=False)
        undo = self._write_journal(old, new)
        try:
            replace_file(self._path, content, through=self._control / "index.json.new")
        except StoreError:
            if self._seen() == before:
                undo()
            raise

    def _seen(self) -> _Seen | None:
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _write_journal(self, old: LayoutIndex, new: LayoutIndex) -> Callable[[], None]:
        """One line for each name that changes; gives what takes them back."""
        path = self._control / "journal"
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = b"".join(
            render_json({"time": now, "name": name, "old": before, "new": after}) + b"\n"
            for name, before, after in _changes(old, new)
        )
        with disk_errors(path, needed=len(lines)):
            journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND, 0o644)
            try:
                end = os.fstat(journal).st_size
                if end and os.pread(journal, 1, end - 1) != b"\n":
                    lines = b"\n" + lines  # a writer died in the middle of a line
                try:
                    write_all(journal, lines)
                except OSError:
                    os.ftruncate(journal, end)
                    raise
            finally:
                os.close(journal)

        def undo() -> None:
            with disk_errors(path):
                os.truncate(path, end)

        return undo


def _changes(old: LayoutIndex, new: LayoutIndex) -> list[tuple[str, str | None, str | None]]:
    before = {name: str(found[0].digest) for name, found in old.by_name.items()}
    after = {name: str(found[0].digest) for name, found in new.by_name.items()}
    return [
        (name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
