"""How many requests an origin is sent at once: all there are, until it says that these are too many."""

from __future__ import annotations

import threading
import time
from collections import Counter

_MOST = 64.0  # as many blobs as can be asked for at once
_LONGEST = 30.0
"""Seconds that a request is held back at most: slower is what was asked for, and not never."""


class Gate:
    """Halves on a refusal, and grows by one for every round of requests that were not refused. Thread-safe.

    A thread that has a request under way passes: it may be about to send what it reads. A request is under way until
    its response has been read.
    """

    def __init__(self, *, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._changed = threading.Condition()
        self._limit = _MOST
        self._holders: Counter[int] = Counter()
        self._count = 0
        self._halved_at = 0
        self._is_open = False

    @property
    def limit(self) -> int:
        """Requests that may be under way."""
        return int(self._limit)

    def enter(self) -> Slot:
        """Wait for a place among the requests under way."""
        thread = threading.get_ident()
        deadline = time.monotonic() + self._longest
        with self._changed:
            while self._is_full() and not self._holders[thread]:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._holders[thread] += 1
            self._count += 1
            return Slot(self, thread, self._count)

    def open(self) -> None:
        """Let everyone pass from now on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def leave(self, thread: int) -> None:
        """A request of this thread has ended."""
        with self._changed:
            self._holders[thread] -= 1
            if self._holders[thread] <= 0:
                del self._holders[thread]
            self._changed.notify_all()

    def told(self, number: int, *, is_refused: bool) -> None:
        """What became of a request. Those that were sent before the last halving say nothing about what came of it."""
        with self._changed:
            if not is_refused:
                self._limit = min(_MOST, self._limit + 1 / self._limit)
                self._changed.notify_all()
            elif number > self._halved_at:
                under_way = float(self._holders.total())
                self._limit = max(1.0, min(self._limit, under_way) // 2)
                self._halved_at = self._count

    def _is_full(self) -> bool:
        return not self._is_open and self._holders.total() >= self.limit


class Slot:
    """The place of one request."""

    def __init__(self, gate: Gate, thread: int, number: int) -> None:
        self._gate = gate
        self._thread = thread
        self._number = number
        self._has_left = False

    def told(self, *, is_refused: bool) -> None:
        """Whether the origin took the request."""
        self._gate.told(self._number, is_refused=is_refused)

    def leave(self) -> None:
        """Make room for the next; once is enough."""
        if not self._has_left:
            self._has_left = True
            self._gate.leave(self._thread)
