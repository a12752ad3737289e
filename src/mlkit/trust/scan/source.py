"""Bytes to look at, from any place: a file, memory, another process, the inside of an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from mlkit.errors import IntegrityError, LimitError

CHUNK: Final = 256 * 1024
_FIRST: Final = 8 * 1024  # most of what is tried as a pickle is none, and ends after a few bytes
_WINDOW: Final = 1 << 20  # bytes of expanded data that can be looked at again for nothing
EXPANSION_LIMIT: Final = 1 << 30
"""Bytes that may come out of the archives of one file, in all (threats.md, 2.3)."""
MEMBER_LIMIT: Final = 65_535
"""Members of the archives of one file, in all: what a ZIP without ZIP64 can hold."""
OPCODE_LIMIT: Final = 30_000_000
"""Steps of the pickles of one file, in all: a minute or less."""


class Source(Protocol):
    """Bytes by their place."""

    @property
    def size(self) -> int:
        """Bytes in all; of expanded data, known only after all of it has been expanded."""

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes there; fewer than asked for only at the end. Raises: LimitError, IntegrityError."""


class BytesSource:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]


class FileSource:
    """An open regular file."""

    def __init__(self, descriptor: int, *, offset: int = 0, size: int | None = None) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = os.fstat(descriptor).st_size - offset if size is None else size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        content = os.pread(self._descriptor, length, self._offset + offset)
        while 0 < len(content) < length:  # network file systems may hand over less than was asked for
            more = os.pread(self._descriptor, length - len(content), self._offset + offset + len(content))
            if not more:
                break
            content += more
        return content


class Part:
    """A part of another source."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        self._source = source
        self._offset = offset
        self._size = max(0, size)

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._size - offset)
        return self._source.read_at(self._offset + offset, length) if length > 0 else b""


class Budget:
    """What is left of the limits on one file, its archives and their archives together."""

    def __init__(self, *, expansion: int = EXPANSION_LIMIT, members: int = MEMBER_LIMIT) -> None:
        self._expansion = expansion
        self._all_members = members
        self._bytes = expansion
        self._members = members
        self._opcodes = OPCODE_LIMIT

    def expand(self, count: int) -> None:
        """Raises: LimitError."""
        self._bytes -= count
        if self._bytes < 0:
            raise LimitError(f"what is packed in it comes to more than {self._expansion} bytes")

    def member(self, count: int = 1) -> None:
        """Raises: LimitError."""
        self._members -= count
        if self._members < 0:
            raise LimitError(f"the archives in it have more than {self._all_members} members")

    def step(self, count: int) -> None:
        """Raises: LimitError."""
        self._opcodes -= count
        if self._opcodes < 0:
            raise LimitError(f"its pickles take more than {OPCODE_LIMIT} steps")


class Expanded:
    """Data that comes out of a compressor, read forward; looking back far starts over, which the budget pays."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]], budget: Budget) -> None:
        self._open = chunks
        self._budget = budget
        self._chunks = chunks()
        self._held = bytearray()
        self._start = 0  # place of what is held
        self._size: int | None = None
        self.problem: str | None = None
        """Why the data ended before its end; what came before can be looked at all the same."""

    @property
    def size(self) -> int:
        while self._size is None:
            self._more()
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        if offset < self._start:
            self._chunks = self._open()
            self._held = bytearray()
            self._start = 0
            self._size = None
        while self._size is None and self._start + len(self._held) < offset + length:
            self._more(keep_from=offset)
        at = offset - self._start
        return bytes(self._held[at : at + length])

    def _more(self, keep_from: int | None = None) -> None:
        end = self._start + len(self._held)
        try:
            chunk = next(self._chunks, None)
        except IntegrityError as error:
            self.problem, chunk = error.message, None
        if chunk is None:
            self._size = end
            return
        self._budget.expand(len(chunk))
        self._held += chunk
        surplus = len(self._held) - 2 * _WINDOW
        if keep_from is not None:
            surplus = min(surplus, keep_from - self._start)
        if surplus > 0:
            del self._held[:surplus]
            self._start += surplus


class Forward:
    """Reads a source from a place on, in pieces as a parser wants them."""

    def __init__(self, source: Source, position: int = 0, *, end: int | None = None) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        self._base = position
        self._end = end
        self._ahead = _FIRST

    @property
    def position(self) -> int:
        """Of the next byte."""
        return self._base + self._at

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises: EOFError."""
        at = self._at
        stop = at + count
        if stop > len(self._held):
            self._fill(count)
            at, stop = self._at, self._at + count
            if stop > len(self._held):
                raise EOFError
        self._at = stop
        return self._held[at:stop]

    def byte(self) -> int:
        """The next byte. Raises: EOFError."""
        at = self._at
        if at >= len(self._held):
            self._fill(1)
            at = self._at
            if at >= len(self._held):
                raise EOFError
        self._at = at + 1
        return self._held[at]

    def line(self, limit: int) -> bytes:
        """Up to the next newline, without it. Raises: EOFError where none comes, or none within `limit` bytes."""
        found = self._held.find(b"\n", self._at)
        while found < 0:
            had = len(self._held) - self._at
            if had > limit:
                raise EOFError
            self._fill(min(max(CHUNK, 4 * had), limit + 1))
            if len(self._held) - self._at <= had:
                raise EOFError
            found = self._held.find(b"\n", self._at)
        line = self._held[self._at : found]
        self._at = found + 1
        return line

    def skip(self, count: int) -> None:
        """Go on `count` bytes later. Raises: EOFError where the source ends before."""
        if self._at + count <= len(self._held):
            self._at += count
            return
        place = self.position + count
        # Its last byte is asked for: the size of expanded data is not known before.
        if count and not self._read(place - 1, 1):
            raise EOFError
        self._base, self._at, self._held = place, 0, b""

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay the next ones; fewer at the end."""
        if self._at + count > len(self._held):
            self._fill(count)
        return self._held[self._at : self._at + count]

    def _fill(self, count: int) -> None:
        place = self.position
        self._held = self._read(place, max(count, self._ahead))
        self._ahead = min(CHUNK, self._ahead * 4)
        self._base, self._at = place, 0

    def _read(self, place: int, count: int) -> bytes:
        if self._end is not None:
            count = min(count, self._end - place)
        return self._source.read_at(place, count) if count > 0 else b""
