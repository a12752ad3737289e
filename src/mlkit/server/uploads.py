"""Upload sessions: blobs on their way in, over several requests. Nothing here speaks HTTP.

A session writes into the store's own ingest, which hashes while bytes arrive, so that the end of an upload costs
neither a second reading nor a copy. It lives as long as the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from mlkit.content.layout import Layout
from mlkit.content.storage import Ingestor, StoredContent
from mlkit.errors import DigestMismatch, MlkitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

SESSION_LIMIT = 256
"""Sessions at once; each holds a file open, and 1,024 open files is a common limit of a process."""

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

    def __init__(self, upload_id: str, repository: str, store: Ingestor, clock: Callable[[], float]) -> None:
        self.id = upload_id
        self.repository = repository
        self.received = 0
        """Bytes."""
        self._clock = clock
        self.touched = clock()
        self._lock = threading.Lock()
        self._turn = 0
        self._open = ExitStack()
        self._writer = self._open.enter_context(store.ingest())
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

    def finish(self, turn: int, promised: Digest, layout: Layout) -> None:
        """Make the blob part of the store and end the session, whatever comes of it.

        Raises: DigestMismatch where the bytes are not those of `promised`; UploadTaken, UploadClosed, StoreError.
        """
        with self._lock:
            self._check_open()
            if turn != self._turn:
                raise UploadTaken
            try:
                found, size = self._writer.commit()
            finally:
                self._close()
        if found.algorithm != promised.algorithm:
            stored = StoredContent(layout, Descriptor(OCTET_STREAM, found, size))
            layout.push(Descriptor(OCTET_STREAM, promised, size), stored)
        elif found != promised:
            raise DigestMismatch(f"the upload is {found}, not {promised}")

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

    def __init__(self, store: Ingestor, *, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._sessions: dict[str, Upload] = {}

    def start(self, repository: str) -> Upload:
        """Raises: TooManyUploads, StoreError."""
        with self._lock:
            self._make_room()
            upload = Upload(self._new_id(), repository, self._store, self._clock)
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
