"""Which bytes of a blob are there, and which are still to come. Nothing here does I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Span = tuple[int, int]
"""From the first byte to the one after the last."""


class Spans:
    """Parts of one blob, in order, none touching another. Not locked: whoever holds it does that."""

    def __init__(self, parts: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in parts:
            self.add(start, end)

    @property
    def parts(self) -> tuple[Span, ...]:
        """All of them, in order."""
        return tuple(zip(self._starts, self._ends, strict=True))

    @property
    def prefix(self) -> int:
        """Bytes that are there from the first on without a gap."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    @property
    def total(self) -> int:
        """Bytes that are there in all."""
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """The bytes from `start` to `end` are there now, if they were not before."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)  # the first part that touches or lies behind
        behind = bisect_right(self._starts, end)
        if first < behind:
            start, end = min(start, self._starts[first]), max(end, self._ends[behind - 1])
        self._starts[first:behind] = [start]
        self._ends[first:behind] = [end]

    def gaps(self, size: int) -> list[Span]:
        """What a blob of `size` bytes still lacks, in order."""
        edges = [0, *(edge for part in self.parts for edge in part), size]
        return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]
