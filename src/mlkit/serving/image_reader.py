"""Files on their way into a layer, verified beside the work that is done with them.

A layer's bytes are hashed twice: as the kit's file, whose digest says that they are right, and as part of the image,
whose digest nobody knows yet. The first is done by a thread of its own, so that a build is no slower than a push.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from mlkit.content.verify import read_some, unverified
from mlkit.errors import DigestMismatch, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BESIDE_FROM = 8 << 20
"""Bytes from which on a second thread hashes; below, starting one costs more than it gives."""


@contextmanager
def verified_beside(stream: BinaryIO, desc: Descriptor) -> Iterator[BinaryIO]:
    """`stream`, which verifies itself, or the same with the hash in a thread of its own. Nothing was read of it."""
    if desc.size < BESIDE_FROM:
        yield stream
        return
    reader = _BesideReader(unverified(stream), desc)
    try:
        yield cast(BinaryIO, reader)
    finally:
        reader.close()


class _BesideReader(io.RawIOBase):
    """As VerifyReader. What is read into must stay as it is until the next read, or until this is closed."""

    def __init__(self, stream: BinaryIO, desc: Descriptor) -> None:
        super().__init__()
        self._stream = stream
        self._desc = desc
        self._hasher = desc.digest.hasher()
        self._position = 0
        self._todo: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._done = threading.Semaphore(0)
        self._is_pending = False
        self._thread = threading.Thread(target=self._hash, name="mlkit-verify", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Raises: SizeMismatch, DigestMismatch in place of the read that would hand over the last byte."""
        self._settle()
        view = memoryview(buffer).cast("B")[: self._desc.size - self._position]
        if not view:
            return 0
        count = read_some(self._stream, view)
        if not count:
            raise SizeMismatch(
                f"{self._desc.digest}: ends after {self._position} bytes (expected {self._desc.size})",
                content=str(self._desc.digest),
            )
        self._position += count
        self._todo.put(view[:count])
        self._is_pending = True
        if self._position == self._desc.size:
            self._verify()
        return count

    def close(self) -> None:
        if not self.closed:
            self._settle()
            self._todo.put(None)
            self._thread.join()
        super().close()

    def _settle(self) -> None:
        """Wait for the hash of what was read last: its buffer is about to be used again."""
        if self._is_pending:
            self._done.acquire()
            self._is_pending = False

    def _hash(self) -> None:
        while (view := self._todo.get()) is not None:
            self._hasher.update(view)
            self._done.release()

    def _verify(self) -> None:
        self._settle()
        if read_some(self._stream, memoryview(bytearray(1))):
            raise SizeMismatch(
                f"{self._desc.digest}: more than the expected {self._desc.size} bytes", content=str(self._desc.digest)
            )
        found = Digest.finished(self._hasher)
        if found != self._desc.digest:
            raise DigestMismatch(f"{self._desc.digest}: the content is {found}", content=str(self._desc.digest))
