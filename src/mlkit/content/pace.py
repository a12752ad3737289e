"""How many connections one blob gets: one, and more only where they make it arrive faster. Nothing here does I/O."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

Ranges = Literal["auto", "off"] | int
"""Connections for one large blob: measured, one, or this many."""

MOST = 8
"""Connections for one blob that can be asked for. What is fast with more is a server that should be asked about it."""
_MOST_MEASURED = 4
_LEAST_SIZE = 256 << 20
_SEGMENT = 32 << 20
_WINDOW = 0.5
"""Seconds of one measurement: long enough for a slow line to tell, short enough for a blob of a few seconds."""
_FIRST_PAUSE = 4
"""Measurements before a connection that did not help is tried again; twice as many each time."""


@dataclass(frozen=True, slots=True)
class Connections:
    """What the blobs of one copy may open beside their first connection."""

    most: int
    """For one blob."""
    is_measured: bool = True
    least_size: int = _LEAST_SIZE
    """Bytes of a blob below which one connection has done the work before a second is of use."""
    segment: int = _SEGMENT
    """Bytes that a connection takes at a time when it is not alone."""
    spare: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MOST_MEASURED - 1))
    """Taken once for every connection beside the first of a blob."""

    @classmethod
    def of(cls, ranges: Ranges, *, blobs_at_once: int) -> Connections | None:
        """What a setting allows; None for one connection. Measured ones are three in all, however many the blobs."""
        if ranges == "off":
            return None
        if ranges == "auto":
            return cls(_MOST_MEASURED)
        most = max(1, min(ranges, MOST))
        return cls(most, is_measured=False, spare=threading.Semaphore((most - 1) * max(1, blobs_at_once)))


class Pace:
    """Watches what arrives, and says how many connections there should be. Not thread-safe.

    A connection more is on trial for a measurement, after one in which it gets up to speed: it stays if it brings half
    of what the others bring each.
    """

    def __init__(self, connections: Connections) -> None:
        self._most = connections.most
        self.wanted = 1 if connections.is_measured else connections.most
        self._is_measured = connections.is_measured
        self._since: float | None = None
        self._counted = 0
        self._before: float | None = None
        self._is_starting = False
        self._pause = 0
        self._next_pause = _FIRST_PAUSE

    def tell(self, now: float, total: int, *, is_waiting: bool) -> int:
        """The connections that there should be, `total` bytes having come by `now`; the first call begins the first
        measurement. `now` is in seconds of any clock that only goes forward.

        `is_waiting`: what takes the bytes, the hash and the disk, has nothing to do.
        """
        if self._since is None:
            # What an earlier run had brought says nothing about this line.
            self._since, self._counted = now, total
        elapsed = now - self._since
        if not self._is_measured or elapsed < _WINDOW:
            return self.wanted
        rate = (total - self._counted) / elapsed
        self._since, self._counted = now, total
        if self._is_starting:
            self._is_starting = False
        elif self._before is not None:
            if rate < self._before * (1 + 0.5 / (self.wanted - 1)):
                self.wanted -= 1
                self._pause, self._next_pause = self._next_pause, self._next_pause * 2
            self._before = None
        elif self._pause:
            self._pause -= 1
        elif is_waiting and self.wanted < self._most:
            self._before, self._is_starting = rate, True
            self.wanted += 1
        return self.wanted

    def refuse(self, most: int) -> None:
        """There cannot be more than so many: the server refused one, or others have taken them."""
        self._most = max(1, most)
        self._before, self._is_starting = None, False
        self.wanted = min(self.wanted, self._most)
