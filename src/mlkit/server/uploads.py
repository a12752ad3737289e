"""Upload sessions: blobs on their way in, over several requests. Nothing here speaks HTTP.

A session writes into the store's own ingest, which hashes while bytes arrive, so that the end of an upload costs
neither a second reading nor a copy. It lives as long as the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from mlkit.content.layout import Layout
from mlkit.content.storage import StoredContent
from mlkit.errors import MlkitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

SESSION_LIMIT = 128
"""Sessions at once; each holds a file open and a buffer of 1 MiB."""

EXPIRY = 24 * 3600.0
"""Seconds without a byte after which a session is dropped."""

_IDLE = 15 * 60.0  # seconds; a session that is idle for this long makes room for a new one when all are taken


class UploadClosed(Exception):
    """The session was finished, cancelled or dropped."""


class UploadTaken(Exception):
    """A later request writes this session now; this one must stop."""


class TooManyUploads(Exception):
    """As many uploads as there may be are busy."""


class Upload:
    """One blob on its way in. Thread-safe; of several requests that write, the latest wins."""

    def __init__(
        self, upload_id: str, repository: str, layout: Layout, algorithm: str, clock: Callable[[], float]
    ) -> None:
        self.id = upload_id
        self.repository = repository
        self.received = 0
        """Bytes."""
        self.touched = clock()
        """When it was last written to, by the clock."""
        self._clock = clock
        self._layout = layout
        self._algorithm = algorithm
        self._lock = threading.Lock()
        self._turn = 0
        self._open = ExitStack()
        self._writer = self._open.enter_context(layout.ingest_area.writer(algorithm))
        self._is_closed = False

    def take_turn(self) -> int:
        """Become the request that writes; a client that was cut off comes back before the server has noticed.

        Raises: UploadClosed.
        """
        with self._lock:
            self._check_open()
            self._turn += 1
            self.touched = self._clock()
            return self._turn

    def append(self, turn: int, pieces: Iterable[bytes]) -> None:
        """Write pieces in order. Raises: UploadTaken, UploadClosed; StoreError, and then the session is gone."""
        with self._lock:
            self._check_open()
            if turn != self._turn:
                raise UploadTaken
            try:
                for piece in pieces:
                    self._writer.write(piece)
                    self.received += len(piece)
            except MlkitError:
                self._close()
                raise
            self.touched = self._clock()

    def finish(self, turn: int, promised: Digest) -> None:
        """Make the blob part of the store and end the session, whatever comes of it.

        Raises: DigestMismatch where the bytes are not those of `promised`; UploadTaken, UploadClosed, StoreError.
        """
        with self._lock:
            self._check_open()
            if turn != self._turn:
                raise UploadTaken
            try:
                desc = Descriptor(OCTET_STREAM, promised, self.received)
                if promised.algorithm == self._algorithm:
                    self._writer.commit_as(desc)
                else:
                    # A session hashes by sha256 until its last request names another algorithm: copied under its
                    # digest of that one, and left to prune under the other.
                    found, size = self._writer.commit()
                    self._layout.push(desc, StoredContent(self._layout, Descriptor(OCTET_STREAM, found, size)))
            finally:
                self._close()

    def cancel(self) -> None:
        """Drop what has arrived; does nothing for a session that has ended."""
        with self._lock:
            if not self._is_closed:
                self._close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise UploadClosed

    def _close(self) -> None:
        self._is_closed = True
        self._open.close()


class Uploads:
    """The sessions of a server: bounded in number and in age. Thread-safe."""

    def __init__(self, layout: Layout, *, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._layout = layout
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._sessions: dict[str, Upload] = {}

    def start(self, repository: str, *, algorithm: str = "sha256") -> Upload:
        """A new session; `algorithm` is that of the digest which it will be finished with, where it is known.

        Raises: TooManyUploads, StoreError.
        """
        with self._lock:
            self._make_room()
            upload = Upload(self._new_id(), repository, self._layout, algorithm, self._clock)
            self._sessions[upload.id] = upload
            return upload

    def find(self, repository: str, upload_id: str) -> Upload | None:
        """The session, if it is one of this repository."""
        with self._lock:
            upload = self._sessions.get(upload_id)
        return upload if upload is not None and upload.repository == repository else None

    def end(self, upload: Upload) -> None:
        """Forget a session, and drop what it holds if it was not finished."""
        with self._lock:
            self._sessions.pop(upload.id, None)
        upload.cancel()

    def close(self) -> None:
        """Drop all sessions."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for upload in sessions.values():
            upload.cancel()

    def _make_room(self) -> None:
        now = self._clock()
        by_age = sorted(self._sessions.values(), key=lambda upload: upload.touched)
        patience = _IDLE if len(by_age) >= SESSION_LIMIT else EXPIRY
        for upload in by_age:
            if now - upload.touched < patience:
                break
            del self._sessions[upload.id]
            upload.cancel()
        if len(self._sessions) >= SESSION_LIMIT:
            raise TooManyUploads
