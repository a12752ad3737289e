"""`.mlkit/journal`: what every entry of the index was and became, who changed it and when. Lines are only ever added.

One JSON object on each line; the lines of one change share `was` and `index`, the sha256 of index.json before and after
it. So the last lines tell whether index.json is what mlkit wrote, and together with `index.json.prev`, the document
before, what that was: foreign writers know of no lock (ADR 0019).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlkit.content.index import Entry, LayoutIndex
from mlkit.content.lock import as_store_error, disk_errors, sync, write_all
from mlkit.errors import IntegrityError, LimitError, StoreError
from mlkit.spec.json_text import parse_object, render_json

ANOTHER_PROGRAM = "another program"
"""Who changed what mlkit only found changed."""
LINE_LIMIT = 4 << 20
"""Bytes of a line: an entry is a descriptor with its annotations, and those have the limit of a manifest."""
_TAIL = 64 << 10  # bytes from the end that are read first; a change of one name has some 700
_RECENT = 4 << 20
"""Bytes from the end in which changes are looked for that another program may have undone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line: an entry of the index that came, went or became another."""

    time: str
    """RFC 3339, UTC."""
    who: Any
    """User, host and process; ANOTHER_PROGRAM for what mlkit only found."""
    name: str | None
    """None for an entry without a name."""
    old: str | None
    new: str | None
    """Digests, None where there was or is nothing."""
    entry: bytes | None
    """The new entry, as a line of the index; None where there is none, or the line is of an older mlkit."""
    was: str | None = None
    index: str | None = None
    """sha256 of index.json before and after; None in a line of an older mlkit."""

    def applied(self, index: LayoutIndex) -> LayoutIndex:
        """The index with this change made once more."""
        if self.old is None and self.new is None:
            return index
        if self.name is not None:
            kept = index.untagged(self.name).lines
        else:
            digest = (self.new or self.old or "").encode()
            kept = tuple(line for line in index.lines if digest not in line or Entry(line).name is not None)
        if self.entry is not None:
            return LayoutIndex(index.fields, (*kept, self.entry))
        return LayoutIndex(index.fields, kept) if self.new is None else index


class Journal:
    """Reads without a lock; writes under the exclusive one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def latest(self) -> Change | None:
        """The last line, None where there is none. Raises: StoreError."""
        size = _TAIL
        while True:
            tail, is_all = self._tail(size)
            for line in reversed(tail.splitlines()):
                change = _parse(line)
                if change is not None:
                    return change
            if is_all or size >= _RECENT:
                return None
            size *= 8

    def last(self) -> tuple[Change, ...]:
        """The lines of the last change, none where there was none. Raises: StoreError."""
        size = _TAIL
        while True:
            tail, is_all = self._tail(size)
            found: list[Change] = []
            for line in reversed(tail.splitlines()):
                change = _parse(line)
                if change is None:
                    continue
                if found and not _is_one_change(found[-1], change):
                    return tuple(reversed(found))
                found.append(change)
            if is_all or size >= _RECENT:
                return tuple(reversed(found))
            size *= 8

    def recent(self) -> list[tuple[Change, ...]]:
        """The latest changes, in order. Raises: StoreError."""
        return _grouped(_parsed(self._tail(_RECENT)[0]))

    def all(self) -> Iterator[Change]:
        """Every line that can be read, in order. Raises: StoreError."""
        try:
            with self.path.open("rb") as file:
                while line := file.readline(LINE_LIMIT):
                    change = _parse(line)
                    if change is not None:
                        yield change
        except FileNotFoundError:
            return
        except OSError as error:
            raise as_store_error(error, self.path) from error

    def append(self, changes: Sequence[Change]) -> int:
        """Add lines, durably, and give where they begin. Raises: StoreError, and then none was added."""
        lines = b"".join(_render(change) for change in changes)
        with disk_errors(self.path, needed=len(lines)):
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND, 0o644)
            try:
                end = os.fstat(file).st_size
                if end and os.pread(file, 1, end - 1) != b"\n":
                    lines = b"\n" + lines  # a writer died in the middle of a line
                try:
                    write_all(file, lines)
                    sync(file)
                except OSError:
                    os.ftruncate(file, end)
                    raise
            finally:
                os.close(file)
        return end

    def cut(self, end: int) -> None:
        """Take back what was added from `end` on: the change was not made after all. Raises: StoreError."""
        with disk_errors(self.path):
            os.truncate(self.path, end)

    def cut_last(self) -> None:
        """Take back the lines of the last change, whose writer died before it was made. Raises: StoreError."""
        count = len(self.last())
        tail, _ = self._tail(_RECENT)
        lines = tail.splitlines(keepends=True)
        dropped = 0
        while lines and count:
            line = lines.pop()
            dropped += len(line)
            count -= _parse(line) is not None
        with disk_errors(self.path):
            self.cut(self.path.stat().st_size - dropped)

    def _tail(self, size: int) -> tuple[bytes, bool]:
        """The last bytes, from the beginning of a line on, and whether that is the whole file."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b"", True
        except OSError as error:
            raise as_store_error(error, self.path) from error
        try:
            with disk_errors(self.path):
                end = os.fstat(file).st_size
                tail = os.pread(file, min(size, end), max(0, end - size))
        finally:
            os.close(file)
        return (tail, True) if size >= end else (tail.partition(b"\n")[2], False)


def changes_between(
    old: LayoutIndex, new: LayoutIndex, *, now: float, who: object, was: str, index: str
) -> list[Change]:
    """One for each entry that differs, by name, those without one by digest. `now`: seconds since the epoch."""
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    before = _different(old, set(new.lines))
    after = _different(new, set(old.lines))
    changes = []
    for key in sorted(before.keys() | after.keys(), key=lambda key: (key[0] or "", key[1])):
        gone, come = before.get(key), after.get(key)
        changes.append(
            Change(
                time,
                who,
                key[0],
                None if gone is None else _digest(gone),
                None if come is None else _digest(come),
                None if come is None else come.text,
                was,
                index,
            )
        )
    return changes


def _different(index: LayoutIndex, others: set[bytes]) -> dict[tuple[str | None, str], Entry]:
    found: dict[tuple[str | None, str], Entry] = {}
    for line in index.lines:
        if line not in others:
            entry = Entry(line)
            found[(entry.name, "" if entry.name is not None else _digest(entry))] = entry
    return found


def _digest(entry: Entry) -> str:
    return str(entry.value["digest"])


def _grouped(changes: Iterable[Change]) -> list[tuple[Change, ...]]:
    groups: list[list[Change]] = []
    for change in changes:
        if groups and _is_one_change(groups[-1][-1], change):
            groups[-1].append(change)
        else:
            groups.append([change])
    return [tuple(group) for group in groups]


def _is_one_change(one: Change, other: Change) -> bool:
    return one.index is not None and (one.was, one.index) == (other.was, other.index)


def _parsed(raw: bytes) -> Iterator[Change]:
    for line in raw.splitlines():
        change = _parse(line)
        if change is not None:
            yield change


def _parse(line: bytes) -> Change | None:
    """None for half a line, and for what is none of ours: a damaged journal is worth what can be read of it."""
    try:
        value = parse_object(line, what="journal", limit=LINE_LIMIT)
        entry = value.get("entry")
        text = None if entry is None else Entry.parse(entry, what="journal").text
    except (IntegrityError, LimitError, StoreError):
        return None
    fields = {key: value.get(key) for key in ("name", "old", "new", "was", "index")}
    if not all(field is None or isinstance(field, str) for field in fields.values()):
        return None
    time = value.get("time")
    return Change(time if isinstance(time, str) else "", value.get("who"), entry=text, **fields)


def _render(change: Change) -> bytes:
    value: dict[str, Any] = {"time": change.time, "who": change.who, "name": change.name}
    value |= {"old": change.old, "new": change.new, "was": change.was, "index": change.index}
    if change.entry is not None:
        value["entry"] = parse_object(change.entry, what="entry", limit=LINE_LIMIT)
    return render_json(value) + b"\n"
