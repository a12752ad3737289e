"""Where the bytes of a download land, each at its own place."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from mlkit.content.spans import Spans


class Landing(Protocol):
    """An open file, some of whose bytes may be there. Thread-safe as far as each is written by one thread only."""

    @property
    def file(self) -> int:
        """Open for reading and writing."""

    @property
    def is_durable(self) -> bool:
        """Whether the bytes are to outlive a power cut, once they are all there."""

    @property
    def spans(self) -> Spans:
        """A copy of what is there."""

    def write(self, offset: int, view: memoryview) -> int:
        """Put bytes in their place; how many there are now from the first on without a gap."""

    def complete(self) -> None:
        """All bytes are there; before their digest is known. Raises: OSError."""

    def guarded(self) -> AbstractContextManager[None]:
        """Turns what the disk says into the errors of whoever owns the file."""


class FreshFile:
    """A Landing in a file that was empty, and that nobody goes on with if this download fails.

    It belongs to whoever opened it: an error of the disk stays an OSError.
    """

    is_durable = False

    def __init__(self, file: int) -> None:
        self.file = file
        self._spans = Spans()
        self._lock = threading.Lock()

    @property
    def spans(self) -> Spans:
        with self._lock:
            return Spans(self._spans.parts)

    def write(self, offset: int, view: memoryview) -> int:
        done = 0
        while done < len(view):
            done += os.pwrite(self.file, view[done:], offset + done)
        with self._lock:
            self._spans.add(offset, offset + len(view))
            return self._spans.prefix

    def complete(self) -> None:
        """See `Landing`."""

    def guarded(self) -> AbstractContextManager[None]:
        return nullcontext()
