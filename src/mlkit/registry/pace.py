"""How fast a run may move bytes: one measure for all its connections, in both directions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SLICES = 8  # of a second's bytes, so that short waits follow each other and not one long one
_SLICE = (4 * 1024, 256 * 1024)  # bytes, least and most


class Pace:
    """A bucket that fills at `rate` bytes per second and holds an eighth of that. Thread-safe."""

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paid_until = clock()
        self.slice = min(max(rate // _SLICES, _SLICE[0]), _SLICE[1])
        """Bytes that are moved at once."""

    def spend(self, count: int) -> None:
        """Wait until `count` bytes that were just moved, and all before them, were due."""
        with self._lock:
            now = self._clock()
            # What was not used is lost but for one slice: a pause must not be followed by a flood.
            self._paid_until = max(self._paid_until, now - self.slice / self._rate) + count / self._rate
            wait = self._paid_until - now
        if wait > 0:
            self._sleep(wait)
