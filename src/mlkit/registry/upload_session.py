"""One upload at a registry, request by request (OCI distribution, "Pushing blobs")."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import Self

import httpx

from mlkit.content.uploads import SavedUpload
from mlkit.errors import DigestMismatch, IntegrityError, MlkitError, NetworkError
from mlkit.registry.auth import Scope
from mlkit.registry.failures import error_codes
from mlkit.registry.origin import next_hop
from mlkit.registry.retry import RETRIED_STATUS, Patience
from mlkit.registry.wire import Body, Call, Document, Wire
from mlkit.spec.digest import Digest

_SETTLING_WAIT = 0.1  # seconds
_SETTLING_TRIES = 20
_STORED = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)


class SessionLostError(NetworkError):
    """The registry knows nothing of an upload any more: only starting over helps."""


class RefusedError(NetworkError):
    """A request of an upload that was answered, but not with success."""

    def __init__(self, answer: Document, refusal: MlkitError) -> None:
        super().__init__(refusal.message, hint=refusal.hint)
        self.status = answer.status
        self.retry_after = answer.headers.get("Retry-After")
        self.refusal = refusal


class ReceivedOtherBytesError(DigestMismatch):
    """The registry says that what arrived has another digest."""


class Session:
    """One upload at the registry. Its location changes with every answer."""

    def __init__(self, wire: Wire, scope: Scope, what: str, *, location: httpx.URL, least_chunk: int) -> None:
        self._wire = wire
        self.what = what
        self._call = Call("PATCH", location, scope, what, is_repeated=False)
        self.least_chunk = least_chunk
        """Bytes that every chunk but the last must have."""

    @classmethod
    def start(cls, wire: Wire, scope: Scope, what: str) -> Session:
        """Raises: AuthError, NotFoundError, NetworkError."""
        url = wire.url(f"{scope.repository}/blobs/uploads/")
        answer = wire.document(Call("POST", url, scope, what))
        if answer.status not in (201, 202):
            raise wire.refusal(answer, what)
        return cls.of(wire, scope, what, answer)

    @classmethod
    def of(cls, wire: Wire, scope: Scope, what: str, answer: Document) -> Self:
        """The session that an answer to a POST opened. Raises: NetworkError for a Location that leads nowhere."""
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        least_chunk = int(least) if least.isascii() and least.isdigit() and len(least) <= 12 else 0
        session = cls(wire, scope, what, location=answer.url, least_chunk=least_chunk)
        session._follow(answer.headers)
        return session

    @classmethod
    def resume(cls, wire: Wire, scope: Scope, what: str, saved: SavedUpload) -> tuple[Self, int]:
        """A session that another process began, and how many bytes the registry has of it.

        Raises: SessionLostError where the registry does not know it any more; AuthError, NetworkError.
        """
        session = cls(wire, scope, what, location=wire.base_url, least_chunk=saved.least_chunk)
        try:
            # With the same care as when it came from the registry (F04): a file may have been written to.
            session._follow({"Location": saved.location})
        except NetworkError as error:
            raise SessionLostError(error.message) from error
        return session, session.ask()

    @property
    def saved(self) -> SavedUpload:
        """What another process needs to go on."""
        return SavedUpload(str(self._call.url), self.least_chunk)

    def append(self, body: Body, position: int, *, is_alone: bool = False) -> int:
        """Send the bytes from `position` on in one PATCH; gives how many the registry has now.

        `is_alone` makes the connection end with it. Raises: SessionLostError; RefusedError for every other answer
        without success; NetworkError.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{position}-{position + body.size - 1}",
        }
        if is_alone:
            headers["Connection"] = "close"
        answer = self._wire.document(replace(self._call, headers=headers, body=body))
        if answer.status in (201, 202, 204):  # 201: Amazon ECR
            self._follow(answer.headers)
            # Registries without a Range in the answer took it all; one that took less says so here.
            stored = _stored(answer.headers)
            return position + body.size if stored is None else stored
        if answer.status == 404:
            raise self._lost(answer)
        raise self._refused(answer)

    def ask(self) -> int:
        """How many bytes the registry has. Raises: SessionLostError; AuthError, NetworkError."""
        patience = Patience(self._wire.policy)
        while True:
            try:
                answer = self._wire.document(replace(self._call, method="GET"))
                if answer.status in RETRIED_STATUS:
                    raise self._refused(answer)
                break
            except NetworkError as error:
                pause_after(error, patience)
        if answer.status not in (200, 202, 204):
            raise self._lost(answer)
        if "Location" in answer.headers:
            self._follow(answer.headers)
        return _stored(answer.headers) or 0

    def settled(self) -> int:
        """Like `ask`, after a connection broke: the registry may not have written yet what arrived before that."""
        stored = self.ask()
        for _ in range(_SETTLING_TRIES):
            self._wire.policy.sleep(_SETTLING_WAIT)
            before, stored = stored, self.ask()
            if stored == before:
                break
        return stored

    def finish(self, digest: Digest, body: Body | None = None) -> None:
        """End the upload, with what is left of the blob.

        Raises: ReceivedOtherBytesError; IntegrityError where the registry says that it stored something else; like
        `append`.
        """
        # Added to the text: the query that is there is the registry's own, and parsing it might change it (F05).
        query = self._call.url.query + (b"&" if self._call.url.query else b"") + f"digest={digest}".encode("ascii")
        url = self._call.url.copy_with(query=query)
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._wire.document(replace(self._call, method="PUT", url=url, headers=headers, body=body))
        if answer.status in (201, 202, 204):
            told = answer.headers.get("Docker-Content-Digest", "")
            if told.partition(":")[0] == digest.algorithm and told != str(digest):
                raise IntegrityError(f"{self.what}: {self._wire.host} says that it stored {ascii(told)[:100]}")
            return
        if answer.status in (404, 416):
            raise self._lost(answer)
        if answer.status == 400 and "DIGEST_INVALID" in error_codes(answer.raw):
            raise ReceivedOtherBytesError(f"{self.what}: {self._wire.host} received other bytes than these")
        raise self._refused(answer)

    def cancel(self) -> None:
        """Let the registry forget what it has; it would do so by itself some day."""
        with suppress(MlkitError):
            self._wire.document(replace(self._call, method="DELETE"))

    def _refused(self, answer: Document) -> RefusedError:
        return RefusedError(answer, self._wire.refusal(answer, self.what))

    def _lost(self, answer: Document) -> SessionLostError:
        return SessionLostError(f"{self.what}: {self._wire.host} lost the upload ({answer.status})")

    def _follow(self, headers: httpx.Headers | dict[str, str]) -> None:
        """Later requests go where the newest answer says. On another host they carry no credentials (F04)."""
        url = next_hop(self._call.url, headers.get("Location"), registry=self._wire.origin, what=self.what)
        self._call = replace(self._call, url=url)


def pause_after(error: NetworkError, patience: Patience) -> None:
    """Wait before another try. Raises: `error`, where another try makes no sense."""
    if not may_pass(error) or not patience.pause(
        retry_after=error.retry_after if isinstance(error, RefusedError) else None,
        error=error.__cause__ if isinstance(error.__cause__, httpx.TransportError) else None,
    ):
        if isinstance(error, RefusedError):
            raise error.refusal from error
        raise error


def may_pass(error: BaseException) -> bool:
    """Whether it is a failure of the network, or of a registry that may be well again in a while."""
    refused = error if isinstance(error, RefusedError) else error.__cause__
    if isinstance(refused, RefusedError):
        return refused.status in RETRIED_STATUS
    return isinstance(refused, httpx.TransportError)


def _stored(headers: httpx.Headers) -> int | None:
    """Bytes that a registry has, by its Range; `0-0` is what they say of an empty upload too, so it counts as none."""
    found = _STORED.fullmatch(headers.get("Range", ""))
    if found is None:
        return None
    return int(found[1]) + 1 if int(found[1]) else 0
