"""A stream that keeps the promise of its descriptor, or breaks before the last byte."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from mlkit.errors import DigestMismatch, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

    from _typeshed import WriteableBuffer


class VerifyReader(io.RawIOBase):
    """Reads `stream` and raises SizeMismatch or DigestMismatch in place of the read that would hand over the last byte.

    Never asks the stream for more than one byte beyond the promised size. Closing it closes the stream.
    """

    def __init__(self, stream: BinaryIO, desc: Descriptor) -> None:
        super().__init__()
        self._stream = stream
        self._desc = desc
        self._hasher = desc.digest.hasher()
        self._position = 0
        self._is_verified = False

    @property
    def unverified(self) -> BinaryIO:
        """The stream below, for who hashes what it stores and so need not hash twice. Only before any read."""
        assert self._position == 0, "some bytes have been read already"
        return self._stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """At most one read of the stream, and at least one byte until the end."""
        view = memoryview(buffer).cast("B")
        left = self._desc.size - self._position
        if left == 0:
            self._verify()
            return 0
        if not view:
            return 0
        count = read_some(self._stream, view[:left])
        if count == 0:
            raise SizeMismatch(
                f"{self._desc.digest}: ends after {self._position} bytes (expected {self._desc.size})",
                content=str(self._desc.digest),
            )
        self._hasher.update(view[:count])
        self._position += count
        if self._position == self._desc.size:
            # Before the last chunk leaves, not after it: a consumer that reads exactly `size` bytes never sees the end.
            self._verify()
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Exactly `size` bytes, or all that is left: never fewer before the end, so that one call reads a document."""
        left = self._desc.size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if left == 0:
            self._verify()
        content = bytearray(wanted)
        view = memoryview(content)
        done = 0
        while done < wanted:
            done += self.readinto(view[done:])
        return bytes(content)

    def readall(self) -> bytes:
        return self.read()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _verify(self) -> None:
        if not self._is_verified:
            verify_end(self._stream, self._desc, self._hasher)
            self._is_verified = True


class MeteredReader(io.RawIOBase):
    """Reads `stream` and calls `count` with the bytes of every read; what `count` raises stops the reading.

    Closing it leaves `stream` open, whose context belongs to whoever opened it: an io object that nobody holds any more
    closes itself, and one made by `unverified` outlives the one it was made from.
    """

    def __init__(self, stream: BinaryIO, count: Callable[[int], None]) -> None:
        super().__init__()
        self._stream = stream
        self._count = count

    @property
    def unverified(self) -> BinaryIO:
        """As of VerifyReader, and still metered."""
        return cast(BinaryIO, MeteredReader(unverified(self._stream), self._count))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        read = read_some(self._stream, memoryview(buffer).cast("B"))
        self._count(read)
        return read

    def read(self, size: int | None = -1, /) -> bytes:
        content = self._stream.read(-1 if size is None else size)
        self._count(len(content))
        return content

    def readall(self) -> bytes:
        return self.read()


def verify_end(stream: BinaryIO, desc: Descriptor, hasher: _Hash) -> None:
    """`desc.size` bytes of the stream were read and hashed. Raises: SizeMismatch where it goes on; DigestMismatch."""
    if read_some(stream, memoryview(bytearray(1))):
        raise SizeMismatch(f"{desc.digest}: more than the expected {desc.size} bytes", content=str(desc.digest))
    found = Digest.finished(hasher)
    if found != desc.digest:
        raise DigestMismatch(f"{desc.digest}: the content is {found}", content=str(desc.digest))


def unverified(stream: BinaryIO) -> BinaryIO:
    """`stream`, or what is below it where it verifies: for a store, which verifies what it has written."""
    return stream.unverified if isinstance(stream, (VerifyReader, MeteredReader)) else stream


def read_some(stream: BinaryIO, view: memoryview) -> int:
    """Bytes read into `view` by one call, 0 at the end; for streams with and without `readinto`."""
    readinto = getattr(stream, "readinto", None)
    if readinto is not None:
        count: int | None = readinto(view)
        return count or 0
    chunk = stream.read(len(view))
    view[: len(chunk)] = chunk
    return len(chunk)
