"""Hashing in a second thread what a first one writes: sha256 is slower than the kernel's copy (speed.md, "Pack")."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1 << 20
_LEAD_LIMIT = 1 << 30
"""Bytes that the writer may be ahead: they should still be in the page cache when their turn comes."""


class Follower:
    """Reads a growing file behind its writer and feeds a hasher with what was really written."""

    def __init__(self, file: int, hasher: _Hash, start: int) -> None:
        self._file = file
        self._hasher = hasher
        self._position = start
        self._written = start
        self._is_complete = False
        self._is_abandoned = False
        self._failure: OSError | None = None
        self._changed = threading.Condition()
        # Daemon: an interrupted program does not wait for the hash of something nobody wants any more.
        self._thread = threading.Thread(target=self._run, name="mlkit-hash", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> int:
        """Bytes that are written and not hashed yet."""
        return self._written - self._position

    def advance(self, written: int) -> None:
        """The file holds its first `written` bytes now; waits while the hash is too far behind. Raises: OSError."""
        with self._changed:
            self._written = max(self._written, written)  # of two writers the later one may be heard first
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or self._written - self._position <= _LEAD_LIMIT)
        self._raise_failure()

    def finish(self) -> None:
        """Wait until everything that was written is hashed. Raises: OSError."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_failure()

    def abandon(self) -> None:
        """Stop soon; the file may be closed afterwards. Does nothing after `finish`."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()
        self._thread.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        view = memoryview(bytearray(_CHUNK))
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_abandoned or self._is_complete or self._written > self._position
                )
                if self._is_abandoned or (self._is_complete and self._written == self._position):
                    return
                count = min(_CHUNK, self._written - self._position)
            try:
                read = os.preadv(self._file, [view[:count]], self._position)
            except OSError as error:
                self._fail(error)
                return
            if read == 0:
                self._fail(OSError(f"the file shrank to less than {self._written} bytes"))
                return
            self._hasher.update(view[:read])
            with self._changed:
                self._position += read
                self._changed.notify_all()

    def _fail(self, error: OSError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()
