"""The content of a push: read in order, hashed on the way, and read again from where a registry wants it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from mlkit.content.storage import Content, Metered
from mlkit.content.verify import read_some, unverified
from mlkit.errors import DigestMismatch, SizeMismatch
from mlkit.registry.wire import Body
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1024 * 1024
_UNKNOWN = Digest.of(b"")  # that of nothing, which is all that is known before anything was read


class Source:
    """Hands out blocks of content and verifies it before the last block: what does not match is never sent whole."""

    def __init__(self, content: Content, desc: Descriptor) -> None:
        self._content = content
        self._desc = desc
        self._opened = ExitStack()
        self._stream: BinaryIO | None = None
        self._position = 0
        self._hasher = desc.digest.hasher()
        self._known: dict[int, _Hash] = {0: self._hasher.copy()}
        self._buffer = memoryview(bytearray(min(_BLOCK, max(1, desc.size))))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def digest(self) -> Digest:
        """Of all the content, once it was read to its end."""
        return self._desc.digest

    def skip_to(self, position: int) -> None:
        """Read and hash what comes before `position`: an earlier run sent it, but it counts in the digest."""
        start = max(known for known in self._known if known <= position)
        self._seek(position)
        if isinstance(self._content, Metered):
            self._content.had(position - start)

    def part(self, start: int, end: int) -> Body:
        """A request body of the bytes from `start` to `end`."""
        return Body(end - start, lambda: self.blocks(start, end))

    def blocks(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from `start` to `end`, each block valid until the next one is asked for.

        Raises: SizeMismatch, DigestMismatch in place of the last block.
        """
        self._seek(start)
        if not self._desc.size:
            self._verify()
        while self._position < end:
            view = self._buffer[: end - self._position]
            self._fill(view)
            if self._position == self._desc.size:
                self._verify()
            yield view
        self._known[end] = self._hasher.copy()

    def _seek(self, position: int) -> None:
        if self._stream is None or self._position != position:
            start = max(known for known in self._known if known <= position)
            self._opened.close()
            # Hashed here, so not once more below.
            self._stream = unverified(self._opened.enter_context(self._content.open(offset=start)))
            self._hasher = self._known[start].copy()
            self._position = start
            while self._position < position:
                self._fill(self._buffer[: position - self._position])
        self._known.setdefault(position, self._hasher.copy())

    def _fill(self, view: memoryview) -> None:
        assert self._stream is not None
        done = 0
        while done < len(view):
            count = read_some(self._stream, view[done:])
            if not count:
                raise SizeMismatch(
                    f"{self._desc.digest}: ends after {self._position + done} bytes (expected {self._desc.size})",
                    content=str(self._desc.digest),
                )
            done += count
        self._hasher.update(view)
        self._position += len(view)

    def _verify(self) -> None:
        assert self._stream is not None
        if read_some(self._stream, memoryview(bytearray(1))):
            raise SizeMismatch(
                f"{self._desc.digest}: more than the expected {self._desc.size} bytes", content=str(self._desc.digest)
            )
        found = Digest.finished(self._hasher)
        if found != self._desc.digest:
            raise DigestMismatch(f"{self._desc.digest}: the content is {found}", content=str(self._desc.digest))


class FindingSource(Source):
    """The same for content whose digest nobody knows yet, and that verifies itself when it is read from its start.

    So it is read from there whenever a registry wants some of it again, and has to be what it was.
    """

    def __init__(self, content: Content, size: int, *, what: str) -> None:
        super().__init__(content, Descriptor(OCTET_STREAM, _UNKNOWN, size))
        self._what = what
        self._found: Digest | None = None

    @property
    def digest(self) -> Digest:
        if self._desc.size == 0:
            return _UNKNOWN
        assert self._found is not None, "an upload ends after its last byte"
        return self._found

    @property
    def found(self) -> Digest | None:
        """The digest, None before the content was read to its end."""
        return self._found

    def _seek(self, position: int) -> None:
        if self._stream is not None and self._position != position:
            before, self._known = self._known.get(position), {0: self._known[0]}
            super()._seek(position)
            if before is None or before.digest() != self._hasher.digest():
                raise DigestMismatch(f"{self._what}: is not what it was when it was read first")
            return
        super()._seek(position)

    def _verify(self) -> None:
        assert self._stream is not None
        if read_some(self._stream, memoryview(bytearray(1))):
            raise SizeMismatch(f"{self._what}: more than the expected {self._desc.size} bytes")
        self._found = Digest.finished(self._hasher)
