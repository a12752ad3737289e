"""Content that is sent while it is hashed: nobody knows its digest before the last byte."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

from mlkit.content.storage import BytesContent
from mlkit.content.verify import read_some
from mlkit.errors import IntegrityError, LimitError, SizeMismatch
from mlkit.registry.auth import Scope
from mlkit.registry.quirks import MIB
from mlkit.registry.retry import Patience
from mlkit.registry.upload import Chunking, ChunksRefusedError, Uploader, finish, only_whole, send_range
from mlkit.registry.upload_session import Session
from mlkit.registry.wire import Body, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

# Two of these are in memory for each writer: one fills while the other is on its way. Large enough that a request's
# cost does not count, small enough for several writers at once.
_CHUNK = 8 * MIB
_CHUNK_LIMIT = 64 * MIB  # a registry that wants more per chunk would have us hold too much
_STOP_WAIT = 1.5  # seconds that a chunk on its way is given to end when nobody wants it any more


class IngestSession:
    """A BlobWriter over one upload session, as a context manager. Not thread-safe.

    A session that the registry loses cannot be taken up again: the bytes are gone. Then it raises NetworkError.
    """

    def __init__(
        self, wire: Wire, uploader: Uploader, scope: Scope, name: str, *, exists: Callable[[Digest], bool]
    ) -> None:
        self._wire = wire
        self._uploader = uploader
        self._scope = scope
        self._name = name
        self._exists = exists
        self._hasher = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray(_CHUNK)
        self._filled = 0
        self._spare: bytearray | None = None
        self._patience = Patience(wire.policy)
        self._session: Session | None = None
        self._sending: _Sending | None = None
        self._is_committed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_committed or self._session is None:
            return
        if self._sending is None or self._sending.has_ended(_STOP_WAIT):
            # In a thread of its own, so that Ctrl-C ends in time even where the registry is gone.
            _Sending(self._session.cancel).has_ended(_STOP_WAIT)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """See `BlobWriter.write`. Raises: AuthError, NetworkError, for this chunk or one before it."""
        view = memoryview(chunk).cast("B")
        while view:
            count = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._took(count)
            view = view[count:]

    def copy_from(self, source: BinaryIO, count: int) -> None:
        """See `BlobWriter.copy_from`."""
        left = count
        while left:
            view = memoryview(self._buffer)[self._filled : self._filled + min(left, MIB)]
            read = read_some(source, view)
            view.release()
            if not read:
                raise SizeMismatch(f"a file ends {left} bytes early (expected {count} more)")
            self._took(read)
            left -= read

    def commit(self) -> tuple[Digest, int]:
        """See `BlobWriter.commit`. Raises: AuthError, NetworkError; IntegrityError for a registry that lost it."""
        digest = Digest.finished(self._hasher)
        what = f"{self._name}@{digest}"
        if self._session is None:
            self._push_small(digest, what)
        else:
            if self._filled:
                self._flush()
            self._join()
            finish(self._session, digest, self._patience, exists=lambda: self._exists(digest))
        if not self._exists(digest):
            raise IntegrityError(f"{what}: {self._wire.host} took it and does not have it")
        self._is_committed = True
        return digest, self._size

    def _took(self, count: int) -> None:
        with memoryview(self._buffer)[self._filled : self._filled + count] as view:
            self._hasher.update(view)
        self._filled += count
        self._size += count
        if self._filled == len(self._buffer):
            self._flush()

    def _flush(self) -> None:
        """Send what is in the buffer while the other one is filled."""
        self._join()
        session = self._started()
        if self._filled < session.least_chunk and self._filled == len(self._buffer):
            self._grow(session.least_chunk)
            return
        full, self._buffer = self._buffer, self._spare or bytearray(len(self._buffer))
        self._spare = full
        start, end = self._size - self._filled, self._size
        self._filled = 0

        def part(first: int, last: int) -> Body:
            return Body.of(memoryview(full)[first - start : last - start])

        self._sending = _Sending(lambda: self._send(session, part, start, end))

    def _send(self, session: Session, part: Callable[[int, int], Body], start: int, end: int) -> None:
        try:
            send_range(session, part, start, end, chunking=Chunking(end - start), patience=self._patience)
        except ChunksRefusedError as error:
            self._uploader.takes_chunks = False
            raise only_whole(self._wire.host) from error

    def _started(self) -> Session:
        if self._session is None:
            self._session = Session.start(self._wire, self._scope, self._name)
        return self._session

    def _grow(self, size: int) -> None:
        if size > _CHUNK_LIMIT:
            raise LimitError(
                f"{self._wire.host}: wants {size} bytes per chunk (at most {_CHUNK_LIMIT} can be held)",
                hint="pack into the local store, then push",
            )
        self._buffer.extend(bytes(size - len(self._buffer)))
        self._spare = None

    def _join(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            sending.wait()

    def _push_small(self, digest: Digest, what: str) -> None:
        """One request for what fits in a buffer, and none where the registry has it already."""
        if self._exists(digest):
            return
        content = BytesContent(bytes(memoryview(self._buffer)[: self._filled]))
        self._uploader.send(
            self._scope,
            Descriptor(OCTET_STREAM, digest, self._size),
            content,
            what=what,
            exists=lambda: self._exists(digest),
        )


class _Sending:
    """Work in a thread of its own, whose error is raised where it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mlkit-ingest", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it has ended. Raises: what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within this time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits, which raises it
            self._error = error
