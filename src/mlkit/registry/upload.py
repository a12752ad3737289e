"""Upload sessions, and a blob's way through one (OCI distribution, "Pushing blobs")."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import httpx

from mlkit.content.storage import Content
from mlkit.errors import DigestMismatch, MlkitError, NetworkError
from mlkit.registry.auth import Scope
from mlkit.registry.failures import error_codes
from mlkit.registry.origin import next_hop
from mlkit.registry.quirks import MIB, Quirks
from mlkit.registry.retry import RETRIED_STATUS, Patience
from mlkit.registry.source import Source
from mlkit.registry.wire import Body, Call, Document, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

MONOLITHIC = 64 * MIB
"""Bytes up to which a blob is sent in one request."""
CHUNK = 64 * MIB
"""Bytes of a PATCH, unless the registry says otherwise."""

_CHUNK_LEAST = MIB  # below this, a registry that finds chunks too large is not going to be content
_RESTARTS = 3  # of a blob whose session got lost
_STORED = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)


class SessionLostError(NetworkError):
    """The registry knows nothing of an upload any more: only starting over helps."""


class Session:
    """One upload at the registry. Its location changes with every answer."""

    def __init__(self, wire: Wire, scope: Scope, what: str, answer: Document) -> None:
        self._wire = wire
        self.what = what
        self._call = Call("PATCH", answer.url, scope, what, is_repeated=False)
        self._follow(answer)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        self.least_chunk = int(least) if least.isascii() and least.isdigit() and len(least) <= 12 else 0
        """Bytes that every chunk but the last must have."""

    @classmethod
    def start(cls, wire: Wire, scope: Scope, what: str) -> Session:
        """Raises: AuthError, NotFoundError, NetworkError."""
        url = wire.url(f"{scope.repository}/blobs/uploads/")
        answer = wire.document(Call("POST", url, scope, what))
        if answer.status not in (201, 202):
            raise wire.refusal(answer, what)
        return cls(wire, scope, what, answer)

    def append(self, body: Body, position: int) -> int:
        """Send the bytes from `position` on in one PATCH; gives how many the registry has now.

        Raises: SessionLostError; RefusedError for every other answer without success; NetworkError.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{position}-{position + body.size - 1}",
        }
        answer = self._wire.document(replace(self._call, headers=headers, body=body))
        if answer.status in (201, 202, 204):  # 201: Amazon ECR
            self._follow(answer)
            # Registries without a Range in the answer took it all; one that took less says so here.
            return _stored(answer.headers) or position + body.size
        if answer.status == 404:
            raise SessionLostError(f"{self._call.what}: {self._wire.host} lost the upload")
        raise RefusedError(answer, self._wire.refusal(answer, self._call.what))

    def ask(self) -> int:
        """How many bytes the registry has. Raises: SessionLostError."""
        answer = self._wire.document(replace(self._call, method="GET", is_repeated=True))
        if answer.status not in (200, 202, 204):
            raise SessionLostError(f"{self._call.what}: {self._wire.host} lost the upload ({answer.status})")
        if "Location" in answer.headers:
            self._follow(answer)
        return _stored(answer.headers) or 0

    def finish(self, digest: Digest, body: Body | None = None) -> None:
        """End the upload, with what is left of the blob. Raises: DigestMismatch; like `append`."""
        # Added to the text: the query that is there is the registry's own, and parsing it might change it (F05).
        query = self._call.url.query + (b"&" if self._call.url.query else b"") + f"digest={digest}".encode("ascii")
        url = self._call.url.copy_with(query=query)
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._wire.document(replace(self._call, method="PUT", url=url, headers=headers, body=body))
        if answer.status in (201, 202, 204):
            return
        if answer.status in (404, 416):
            raise SessionLostError(f"{self._call.what}: {self._wire.host} lost the upload")
        if answer.status == 400 and "DIGEST_INVALID" in error_codes(answer.raw):
            raise DigestMismatch(f"{self._call.what}: {self._wire.host} received other bytes than these")
        if answer.status in RETRIED_STATUS:
            raise RefusedError(answer, self._wire.refusal(answer, self._call.what))
        raise self._wire.refusal(answer, self._call.what)

    def cancel(self) -> None:
        """Let the registry forget what it has; it would do so by itself some day."""
        with suppress(MlkitError):
            self._wire.document(replace(self._call, method="DELETE"))

    def _follow(self, answer: Document) -> None:
        """Later requests go where the newest answer says. On another host they carry no credentials (F04)."""
        location = answer.headers.get("Location")
        url = next_hop(self._call.url, location, registry=self._wire.origin, what=self._call.what)
        self._call = replace(self._call, url=url)


class RefusedError(NetworkError):
    """A request of an upload that was answered, but not with success."""

    def __init__(self, answer: Document, refusal: MlkitError) -> None:
        super().__init__(refusal.message, hint=refusal.hint)
        self.status = answer.status
        self.retry_after = answer.headers.get("Retry-After")
        self.refusal = refusal


def upload(
    wire: Wire,
    scope: Scope,
    desc: Descriptor,
    content: Content,
    *,
    quirks: Quirks,
    what: str,
    exists: Callable[[], bool],
) -> None:
    """Send a blob that the registry lacks; `exists` asks whether it has it by now.

    Raises: DigestMismatch, SizeMismatch, AuthError, NetworkError, LimitError.
    """
    patience = Patience(wire.policy)
    with Source(content, desc) as source:
        for attempt in range(_RESTARTS + 1):
            # The answer to the last request may have got lost on its way, and not the request.
            if attempt and exists():
                return
            session = Session.start(wire, scope, what)
            is_finished = False
            try:
                if desc.size <= MONOLITHIC or not quirks.is_chunked:
                    session.finish(desc.digest, source.part(0, desc.size))
                else:
                    send_range(session, source.part, 0, desc.size, chunk=CHUNK, patience=patience)
                    finish(session, desc.digest, patience, exists=exists)
                is_finished = True
                return
            except SessionLostError as error:
                is_finished = True
                if not patience.pause():
                    raise NetworkError(error.message) from error
            except NetworkError as error:
                _pause(patience, error)
            finally:
                if not is_finished:
                    session.cancel()
    raise NetworkError(f"{what}: the upload to {wire.host} failed {_RESTARTS + 1} times")


def send_range(
    session: Session,
    part: Callable[[int, int], Body],
    start: int,
    end: int,
    *,
    chunk: int,
    patience: Patience,
) -> None:
    """Append the bytes from `start` to `end` in chunks, going on from wherever the registry says that it is.

    Raises: SessionLostError; NetworkError for a registry that counts wrong, or that lost what came before `start`.
    """
    chunk = max(chunk, session.least_chunk)
    position = start
    while position < end:
        target = min(position + chunk, end)
        try:
            stored = session.append(part(position, target), position)
        except RefusedError as error:
            if error.status == 413 and chunk // 4 >= max(_CHUNK_LEAST, session.least_chunk):
                chunk //= 4
            elif error.status != 416 or not patience.pause():
                _pause(patience, error)
            stored = session.ask()
        except SessionLostError:
            raise
        except NetworkError as error:
            _pause(patience, error)
            stored = session.ask()
        if not start <= stored <= target:
            raise NetworkError(f"{session.what}: the registry says it has {stored} bytes, of {target} that were sent")
        if stored > position:
            patience.renew()
        elif not patience.pause():
            raise NetworkError(f"{session.what}: the registry takes no more than {position} bytes")
        position = stored


def finish(session: Session, digest: Digest, patience: Patience, *, exists: Callable[[], bool]) -> None:
    """End an upload whose bytes are all there; `exists` tells whether an answer that got lost was a good one."""
    while True:
        try:
            session.finish(digest)
            return
        except SessionLostError:
            if exists():
                return
            raise
        except NetworkError as error:
            _pause(patience, error)


def _pause(patience: Patience, error: NetworkError) -> None:
    """Wait before another try. Raises: `error`, where another try makes no sense."""
    if isinstance(error, RefusedError):
        if error.status not in RETRIED_STATUS or not patience.pause(retry_after=error.retry_after):
            raise error.refusal from error
    elif not isinstance(error.__cause__, httpx.TransportError) or not patience.pause(error=error.__cause__):
        raise error


def _stored(headers: httpx.Headers) -> int | None:
    """Bytes that a registry has, by its Range; `0-0` is what they say of an empty upload too, so it counts as none."""
    found = _STORED.fullmatch(headers.get("Range", ""))
    if found is None:
        return None
    return int(found[1]) + 1 if int(found[1]) else 0
