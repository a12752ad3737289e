"""Verifying large content while somebody else works on it: sha256 takes as long as writing files does."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from mlkit.content.verify import read_some, verify_end
from mlkit.errors import SizeMismatch
from mlkit.spec.descriptor import Descriptor

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1 << 20  # bytes; less lets the threads fight over the interpreter's lock


class HashedBeside(io.RawIOBase):
    """Keeps the promise of VerifyReader, for large content: a second thread hashes what was read while the caller
    works on it. What is hashed are the very bytes that are handed out.

    Closing it ends the thread, and leaves the stream open, whose context belongs to whoever opened it.
    """

    def __init__(self, stream: BinaryIO, desc: Descriptor) -> None:
        super().__init__()
        self._stream = stream
        self._desc = desc
        self._hasher = desc.digest.hasher()
        self._blocks = (memoryview(bytearray(_BLOCK)), memoryview(bytearray(_BLOCK)))
        self._hashing: list[Future[None] | None] = [None, None]
        self._turn = 0
        self._ready = self._blocks[0][:0]
        self._position = 0
        self._is_verified = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlkit-hash")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """At most one read of the stream, and at least one byte until the end."""
        view = memoryview(buffer).cast("B")
        if view and not self._ready:
            self._fill()
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._thread.shutdown()
        super().close()

    def _fill(self) -> None:
        left = self._desc.size - self._position
        if left == 0:
            self._verify()
            return
        self._wait(self._turn)
        block = self._blocks[self._turn]
        count = read_some(self._stream, block[:left])
        if count == 0:
            raise SizeMismatch(
                f"{self._desc.digest}: ends after {self._position} bytes (expected {self._desc.size})",
                content=str(self._desc.digest),
            )
        self._hashing[self._turn] = self._thread.submit(self._hasher.update, block[:count])
        self._position += count
        if self._position == self._desc.size:
            self._verify()  # before the last chunk leaves, as above
        self._ready = block[:count]
        self._turn = 1 - self._turn

    def _wait(self, turn: int) -> None:
        hashing = self._hashing[turn]
        if hashing is not None:
            hashing.result()

    def _verify(self) -> None:
        if not self._is_verified:
            self._wait(0)
            self._wait(1)
            verify_end(self._stream, self._desc, self._hasher)
            self._is_verified = True
