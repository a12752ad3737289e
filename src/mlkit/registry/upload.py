"""A blob's way into a registry: whole or in chunks, as this registry likes it, and on from where an earlier run got to.

What a cut costs: at most the chunk that was on its way. Registries that keep the part of it that arrived (the embedded
one, distribution 3) go on inside it. docker-registry 2.8 loses the whole upload when it is cut inside a chunk; the blob
starts over there, in smaller chunks, each on a connection of its own, since what ended one may end the next one too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mlkit.content.storage import Content, OnlyWhole
from mlkit.errors import IntegrityError, LimitError, NetworkError
from mlkit.registry.auth import Scope
from mlkit.registry.memory import Forgetful, UploadClaim, UploadMemory
from mlkit.registry.quirks import MIB, quirks_of
from mlkit.registry.retry import RETRIED_STATUS, Patience
from mlkit.registry.source import FindingSource, Source
from mlkit.registry.upload_session import (
    ReceivedOtherBytesError,
    RefusedError,
    Session,
    SessionLostError,
    may_pass,
    pause_after,
)
from mlkit.registry.wire import Body, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

MONOLITHIC = 64 * MIB
"""Bytes up to which a blob is sent in one request."""
CHUNK = 64 * MIB
"""Bytes of a PATCH, unless the registry says otherwise."""

_CHUNK_LEAST = MIB  # below this, a registry that finds chunks too large is not going to be content
_CUT_LEAST = 4 * MIB  # below this, a request's cost counts more than what a cut takes away
_RESTARTS = 3  # of a blob whose session got lost
# What a registry may answer to a first chunk that has nothing to do with chunks; after 416 it is asked first.
_NOT_ABOUT_CHUNKS = RETRIED_STATUS | {401, 403, 404, 413, 416}


class ChunksRefusedError(NetworkError):
    """The registry takes no blob in parts."""


@dataclass(slots=True)
class Chunking:
    """How much goes into one request; less, once something went wrong with more."""

    size: int
    """Bytes."""
    is_alone: bool = False
    """Whether every chunk has a connection of its own."""

    def slow_down(self) -> None:
        """A connection ended inside a chunk, and nothing of that chunk was kept."""
        self.size = min(self.size, max(_CUT_LEAST, self.size // 4))
        self.is_alone = True


class Uploader:
    """Sends blobs to one registry, and remembers for the run how it likes them. Thread-safe."""

    def __init__(self, wire: Wire, memory: UploadMemory) -> None:
        self._wire = wire
        self._memory = memory
        self.quirks = quirks_of(wire.host)
        self.takes_chunks = self.quirks.is_chunked
        """Whether a blob may arrive in several requests; set to False when the registry turns out to refuse that."""

    def send(
        self,
        scope: Scope,
        desc: Descriptor,
        content: Content,
        *,
        what: str,
        exists: Callable[[], bool],
        session: Session | None = None,
    ) -> None:
        """Send a blob that the registry lacks; `exists` asks whether it has it by now.

        `session` is one that is open already. What was sent in chunks is kept for another run to go on with, unless
        the upload was given up for good.
        Raises: DigestMismatch, SizeMismatch, AuthError, NetworkError, LimitError.
        """
        with Source(content, desc) as source:
            upload = _Upload(self, self._wire, scope, desc, source, what, exists, session)
            if desc.size <= MONOLITHIC or not self.takes_chunks:
                upload.run(None)
                return
            repository = scope.repository
            assert repository is not None, "a blob has a repository"
            with self._memory.claim(self._wire.origin.url, repository, desc.digest) as claim:
                upload.run(claim)
                claim.forget()

    def send_unknown(
        self, scope: Scope, content: Content, size: int, *, name: str, exists: Callable[[Digest], bool]
    ) -> Digest:
        """Send `size` bytes whose digest is found on the way; they can be read again, and are then the same.

        Raises: OnlyWhole where the registry wants to know the digest first; as of `send`.
        """
        if not self.takes_chunks:
            raise only_whole(self._wire.host)
        with FindingSource(content, size, what=name) as source:
            desc = Descriptor(OCTET_STREAM, Digest.of(b""), size)

            def is_there() -> bool:
                return source.found is not None and exists(source.found)

            upload = _Upload(self, self._wire, scope, desc, source, name, is_there, None, is_known=False)
            with Forgetful().claim(self._wire.origin.url, name, desc.digest) as claim:
                upload.run(claim)
            return source.digest


@dataclass(slots=True)
class _Upload:
    """One blob on its way."""

    uploader: Uploader
    wire: Wire
    scope: Scope
    desc: Descriptor
    source: Source
    what: str
    exists: Callable[[], bool]
    opened: Session | None
    """A session that nothing was sent to yet."""
    chunking: Chunking = field(default_factory=lambda: Chunking(CHUNK))
    is_known: bool = True
    """Whether the digest is known before the last byte was read."""

    def run(self, claim: UploadClaim | None) -> None:
        """In chunks where there is a claim, else whole; again where that may help."""
        patience = Patience(self.wire.policy)
        tries = 0
        while tries <= _RESTARTS:
            # The answer to the last request may have got lost on its way, and not the request.
            if tries and self.exists():
                return
            try:
                if claim is None:
                    self._send_whole()
                else:
                    self._send_in_chunks(claim, patience)
                return
            except ChunksRefusedError:
                claim, self.uploader.takes_chunks = None, False
                if not self.is_known:
                    raise only_whole(self.wire.host) from None
            except ReceivedOtherBytesError:
                # What was sent had the right digest, so a bit fell over on the way: that may happen once.
                if tries:
                    raise
                tries += 1
            except SessionLostError as error:
                tries += 1
                if not patience.pause():
                    raise NetworkError(error.message) from error
            except NetworkError as error:
                tries += 1
                pause_after(error, patience)
        raise NetworkError(f"{self.what}: the upload to {self.wire.host} failed {_RESTARTS + 1} times")

    def _send_whole(self) -> None:
        session = self._open()
        try:
            session.finish(self.desc.digest, self.source.part(0, self.desc.size))
        except SessionLostError:
            raise
        except BaseException:
            session.cancel()
            raise

    def _send_in_chunks(self, claim: UploadClaim, patience: Patience) -> None:
        session, position, is_resumed = self._resume(claim) or (self._open(), 0, False)
        claim.save(session.saved)
        try:
            self.source.skip_to(position)  # the registry has it; it is read here for the digest alone
            send_range(
                session,
                self.source.part,
                position,
                self.desc.size,
                chunking=self.chunking,
                patience=patience,
                save=lambda: claim.save(session.saved),
            )
            finish(session, self.source.digest, patience, exists=self.exists)
        except SessionLostError:
            claim.forget()
            raise
        except BaseException as error:
            if not _is_for_good(error):
                raise
            session.cancel()
            claim.forget()
            if is_resumed and isinstance(error, (ReceivedOtherBytesError, NetworkError)):
                # Whoever began this upload may have sent something else. From the start, it is all ours.
                raise SessionLostError(str(error)) from error
            raise

    def _resume(self, claim: UploadClaim) -> tuple[Session, int, bool] | None:
        """The session that was saved, how many bytes the registry has of it, and True; None where it is lost."""
        if claim.saved is None:
            return None
        try:
            session, position = Session.resume(self.wire, self.scope, self.what, claim.saved)
        except SessionLostError:
            claim.forget()
            return None
        if position > self.desc.size:
            session.cancel()
            claim.forget()
            return None
        if self.opened is not None:
            self._open().cancel()
        return session, position, True

    def _open(self) -> Session:
        session, self.opened = self.opened or Session.start(self.wire, self.scope, self.what), None
        return session


def only_whole(host: str) -> OnlyWhole:
    """The error for content of unknown digest and a registry that takes no chunks."""
    return OnlyWhole(
        f"{host}: takes blobs only whole, so nothing can be packed straight into it",
        hint="pack into the local store, then push",
    )


def send_range(
    session: Session,
    part: Callable[[int, int], Body],
    start: int,
    end: int,
    *,
    chunking: Chunking,
    patience: Patience,
    save: Callable[[], None] = lambda: None,
) -> None:
    """Append the bytes from `start` to `end` in chunks, going on from wherever the registry says that it is.

    `save` is called whenever the session has moved. Raises: SessionLostError; ChunksRefusedError for a registry that
    takes not even a first one; NetworkError for one that counts wrong, or that lost what came before `start`.
    """
    position = start
    while position < end:
        chunking.size = max(chunking.size, session.least_chunk)
        target = min(position + chunking.size, end)
        is_cut = has_waited = False
        try:
            stored = session.append(part(position, target), position, is_alone=chunking.is_alone)
            takes_none = stored == 0
        except RefusedError as error:
            if position == 0 and 400 <= error.status < 500 and error.status not in _NOT_ABOUT_CHUNKS:
                raise ChunksRefusedError(error.message) from error
            if error.status == 413 and chunking.size // 4 >= max(_CHUNK_LEAST, session.least_chunk):
                chunking.size //= 4
            elif error.status != 416:
                pause_after(error, patience)
                has_waited = True
            stored = session.ask()
            takes_none = error.status == 416 and stored == 0
        except SessionLostError:
            raise
        except NetworkError as error:
            pause_after(error, patience)
            is_cut, has_waited, takes_none = True, True, False
            stored = _asked_after_cut(session, chunking)
        if position == 0 and takes_none:
            raise ChunksRefusedError(f"{session.what}: the registry keeps nothing of a chunk")
        if not start <= stored <= target:
            raise NetworkError(f"{session.what}: the registry says it has {stored} bytes, of {target} that were sent")
        if stored > position:
            patience.renew()
        elif is_cut:
            chunking.slow_down()
        elif not has_waited and not patience.pause():
            raise NetworkError(f"{session.what}: the registry takes no more than {position} bytes")
        position = stored
        save()


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
            pause_after(error, patience)


def _asked_after_cut(session: Session, chunking: Chunking) -> int:
    try:
        return session.settled()
    except SessionLostError:
        chunking.slow_down()
        raise


def _is_for_good(error: BaseException) -> bool:
    """Whether no later run need go on with an upload that ended so; what the network did, or a person, may pass."""
    if isinstance(error, NetworkError):
        return not may_pass(error)
    return isinstance(error, (IntegrityError, LimitError))
