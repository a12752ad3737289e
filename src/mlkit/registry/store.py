"""A repository of a registry as a target (OCI distribution specification 1.1)."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import BinaryIO

import httpx

from mlkit.content.storage import BlobWriter, Broken, Content, LostContent, read_blob
from mlkit.content.verify import VerifyReader
from mlkit.errors import AuthError, IntegrityError, MlkitError, NetworkError, NotFoundError
from mlkit.registry.auth import Scope
from mlkit.registry.ingest import IngestSession
from mlkit.registry.manifests import Manifests, is_manifest
from mlkit.registry.memory import PlaceMemory
from mlkit.registry.reader import BlobStream
from mlkit.registry.referrers import Referrers
from mlkit.registry.tagging import replace_tag, swap_tag, tag_conflict, tagged
from mlkit.registry.tags import list_tags
from mlkit.registry.upload import Uploader, only_whole
from mlkit.registry.upload_session import Session
from mlkit.registry.wire import Call, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.release import HISTORY_TAGS

_MOUNT_TRIES = 2  # repositories that a blob is asked for in; a request each, where an upload takes four


class RegistryStore:
    """One repository: manifests and indexes by their media type under `/manifests/`, all else under `/blobs/`."""

    def __init__(self, wire: Wire, repository: str, uploader: Uploader, places: PlaceMemory) -> None:
        self._wire = wire
        self._repository = repository
        self._uploader = uploader
        self._places = places
        self._manifests = Manifests(wire, repository)
        self._referrers = Referrers(wire, repository, self._manifests)
        self._lock = threading.Lock()
        self._absent: set[Digest] = set()
        self._seen: set[Digest] = set()
        self._opened: dict[Digest, Session] = {}

    @property
    def name(self) -> str:
        """`host/repository`."""
        return f"{self._wire.host}/{self._repository}"

    def exists(self, desc: Descriptor) -> bool:
        """Whether the registry says that it has the content. Raises: AuthError, NetworkError."""
        if is_manifest(desc):
            return self._manifests.exists(desc)
        is_there = self._has_blob(desc.digest)
        with self._lock:
            # A push that follows need not ask again.
            (self._absent.discard if is_there else self._absent.add)(desc.digest)
        return is_there

    def remember(self) -> None:
        """Let later runs know which blobs are in this repository."""
        with self._lock:
            seen, self._seen = self._seen, set()
        self._places.saw(self._wire.origin.url, self._repository, seen)

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """A stream over as many connections as it takes; see `ReadOnlyStorage.open`.

        Raises: NotFoundError, AuthError, NetworkError; while reading, NetworkError too.
        """
        if is_manifest(desc):
            stream: BinaryIO = io.BytesIO(self._manifests.raw(desc)[offset:])
        elif 0 < desc.size <= offset:
            stream = io.BytesIO()
        else:
            call = Call("GET", self._blob_url(desc.digest), Scope(self._repository), f"{self.name}@{desc.digest}")
            stream = _binary(BlobStream(self._wire, call, size=desc.size, offset=offset))
            self._saw(desc.digest)
        return stream if offset else _binary(VerifyReader(stream, desc))

    def open_range(
        self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
    ) -> AbstractContextManager[BinaryIO]:
        """See `Ranged`: a part of a blob. Raises: NotFoundError, AuthError, NetworkError."""
        call = Call("GET", self._blob_url(desc.digest), Scope(self._repository), f"{self.name}@{desc.digest}")
        end = min(offset + length, desc.size)
        stream = BlobStream(self._wire, call, size=desc.size, offset=offset, end=end, is_exact=is_exact)
        self._saw(desc.digest)
        return _binary(stream)

    def raw(self, desc: Descriptor) -> bytes:
        """The verified bytes of a manifest or another small document, at most 4 MiB. Raises: LimitError."""
        if is_manifest(desc):
            with VerifyReader(io.BytesIO(self._manifests.raw(desc)), desc) as stream:
                return stream.read()
        return read_blob(self, desc, limit=MANIFEST_LIMIT)

    def push(self, desc: Descriptor, content: Content) -> None:
        """See `Storage.push`; a manifest with a subject is entered where the registry keeps no referrers itself.

        Raises: DigestMismatch, SizeMismatch, AuthError, NetworkError, LimitError; LostContent for a manifest that
        lists what the registry lacks.
        """
        if is_manifest(desc):
            self._push_manifest(desc, content)
            return
        with self._lock:
            is_known_absent = desc.digest in self._absent
            self._absent.discard(desc.digest)
            session = self._opened.pop(desc.digest, None)
        if not is_known_absent and self._has_blob(desc.digest):
            return
        self._uploader.send(
            Scope(self._repository, "pull,push"),
            desc,
            content,
            what=f"{self.name}@{desc.digest}",
            exists=lambda: self._has_blob(desc.digest),
            session=session,
        )
        self._confirm(desc)

    def ingest(self) -> AbstractContextManager[BlobWriter]:
        """A writer that sends while it hashes. Raises: UsageError for a registry that takes blobs only whole."""
        if not self._uploader.takes_chunks:
            raise only_whole(self._wire.host)
        scope = Scope(self._repository, "pull,push")
        return IngestSession(self._wire, self._uploader, scope, self.name, exists=self._has_blob)

    def take(self, content: Content, size: int) -> Digest:
        """See `Taker`. Raises: OnlyWhole, AuthError, NetworkError; IntegrityError for a registry that lost it."""
        scope = Scope(self._repository, "pull,push")
        digest = self._uploader.send_unknown(scope, content, size, name=self.name, exists=self._has_blob)
        if not self._has_blob(digest):
            raise IntegrityError(f"{self.name}@{digest}: {self._wire.host} took it and does not have it")
        return digest

    def mount(self, desc: Descriptor, source_repository: str | None = None) -> bool:
        """Take a blob over from `source_repository` of this registry, or from wherever it was seen before.

        False where the registry would not, whatever its reason: the upload that follows will say what is wrong, if
        anything is. It goes on with the session that a registry opens in place of a mount.
        """
        sources = [] if source_repository is None else [source_repository]
        if self._uploader.quirks.is_mounting:
            sources += self._places.of(self._wire.origin.url, desc.digest)
        others = [name for name in dict.fromkeys(sources) if name != self._repository]
        return any(self._is_mounted(desc, name) for name in others[:_MOUNT_TRIES])

    def _is_mounted(self, desc: Descriptor, source_repository: str) -> bool:
        url = self._wire.url(
            f"{self._repository}/blobs/uploads/", {"mount": str(desc.digest), "from": source_repository}
        )
        what = f"{self.name}@{desc.digest}"
        call = Call("POST", url, Scope(self._repository, "pull,push", source_repository), what, is_repeated=False)
        try:
            answer = self._wire.document(call)
            if answer.status == 202:
                opened = Session.of(self._wire, Scope(self._repository, "pull,push"), what, answer)
                with self._lock:
                    before, self._opened[desc.digest] = self._opened.get(desc.digest), opened
                if before is not None:
                    before.cancel()
        except (AuthError, NetworkError):
            return False
        return answer.status == 201 and self._has_blob(desc.digest)

    def resolve(self, name: str) -> Descriptor:
        """What a tag or a digest points at. Raises: NotFoundError, IntegrityError, AuthError, NetworkError."""
        try:
            return self._manifests.resolve(name)
        except NotFoundError as error:
            if ":" in name:
                raise
            tags = self._some_tags()
            told = f" (tags: {', '.join(tags)})" if tags else ""
            raise NotFoundError(f"{error.message}{told}", hint=error.hint) from error

    def find(self, name: str) -> Descriptor | None:
        """Like `resolve`; None where there is no such tag or manifest."""
        try:
            return self._manifests.resolve(name)
        except NotFoundError:
            return None

    def swap(self, desc: Descriptor, tag: str, *, expected: Digest | None) -> bool:
        """Let a tag point at a manifest if it points at `expected`, or at nothing where that is None; whether it does.

        Where the registry heeds no conditions, whether it still does after others had time to write over it.
        """
        return swap_tag(self._manifests, self._wire.policy, desc, self.raw(desc), tag, expected)

    def tagged(self, name: str, *, algorithm: str = "sha256") -> Digest | None:
        """The digest of what a tag points at now, whatever that is; None where there is no such tag."""
        return tagged(self._manifests, name, algorithm)

    def told(self, name: str) -> Digest | None:
        """The digest that the registry says a tag has, unchecked, for one request without a body.

        None where it says none, or there is no such tag.
        """
        return self._manifests.told(name)

    def expect(self, name: str, expected: Digest, *, or_else: Digest) -> None:
        """See that a tag points at one digest or the other. Raises: ConflictError where it does not."""
        found = tagged(self._manifests, name, expected.algorithm)
        if found not in (expected, or_else):
            raise tag_conflict(self.name, name, found, expected)

    def tag(self, desc: Descriptor, name: str, *, replacing: Digest | None = None) -> None:
        """Store the manifest under a tag; with `replacing`, only where the tag points at that digest until then.

        Raises: NotFoundError where the registry lacks the manifest; ConflictError where the tag points elsewhere.
        """
        if replacing is None:
            self._manifests.put(desc, self.raw(desc), name)
        else:
            replace_tag(self._manifests, desc, self.raw(desc), name, replacing)

    def tags(self) -> Iterator[str]:
        """The tags, in the registry's order, each once. Raises: NotFoundError, AuthError, NetworkError, LimitError."""
        return list_tags(self._wire, self._repository)

    def referrers(
        self, desc: Descriptor, artifact_type: str | None = None, *, broken: Broken | None = None
    ) -> Iterator[Descriptor]:
        """See `Target.referrers`; every one of them was fetched, and does name `desc` as its subject.

        What cannot be read is told to `broken`; without it, that is an error.
        """
        return self._referrers.of(desc, artifact_type, broken)

    def delete(self, desc: Descriptor) -> None:
        """Delete a manifest with all its tags, or a blob. Raises: NotFoundError; NetworkError where that is off."""
        if is_manifest(desc):
            self._manifests.forget(desc.digest)
            answer = self._manifests.delete(str(desc.digest))
        else:
            scope = Scope(self._repository, "delete,pull,push")
            call = Call("DELETE", self._blob_url(desc.digest), scope, f"{self.name}@{desc.digest}")
            answer = self._wire.document(call)
        if answer.status == 405:
            raise NetworkError(
                f"{self.name}: {self._wire.host} does not let anyone delete", hint="its operator can switch that on"
            )
        if answer.status not in (200, 202, 204):
            raise self._wire.refusal(answer, f"{self.name}@{desc.digest}")

    def untag(self, tag: str) -> None:
        """Remove one tag and nothing else.

        Raises: NotFoundError; NetworkError for a registry that can only delete a manifest with all its tags.
        """
        answer = self._manifests.delete(tag)
        if answer.status in (200, 202, 204):
            return
        if answer.status == 404:
            raise NotFoundError(f'{self.name}: no tag "{tag}"')
        if answer.status in (400, 405):
            raise NetworkError(
                f'{self.name}: {self._wire.host} cannot remove the tag "{tag}" alone',
                hint="removing the manifest by its digest removes every tag of it",
            )
        raise self._wire.refusal(answer, f"{self.name}:{tag}")

    def _some_tags(self) -> list[str]:
        """What to choose from instead, as far as it can be had."""
        try:
            return list(islice((tag for tag in self.tags() if not tag.startswith(HISTORY_TAGS)), 10))
        except MlkitError:
            return []

    def _push_manifest(self, desc: Descriptor, content: Content) -> None:
        with content.open() as opened, VerifyReader(opened, desc) as stream:
            raw = stream.read()
        manifest = parse_manifest(raw, media_type=desc.media_type, what=f"{self.name}@{desc.digest}")
        try:
            headers = self._manifests.put(desc, raw, str(desc.digest))
        except LostContent as error:
            raise LostContent(error.message, self._lost(manifest, error.digests), hint=error.hint) from error
        self._manifests.confirm(desc, raw)
        self._saw(desc.digest)
        if manifest.subject is not None and "OCI-Subject" not in headers:
            self._referrers.enter(manifest.subject, manifest)

    def _lost(self, manifest: Manifest | Index, named: frozenset[Digest]) -> frozenset[Digest]:
        """The blobs of a manifest that the registry lacks: some name the first one only, some none."""
        children = (manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else ()
        blobs = {child.digest for child in children}
        lost = {digest for digest in blobs if digest in named or not self._has_blob(digest)}
        with self._lock:
            # It may still say that they are there: a push that follows does not ask.
            self._absent |= lost
            self._seen -= lost
        return frozenset(lost)

    def _has_blob(self, digest: Digest) -> bool:
        what = f"{self.name}@{digest}"
        answer = self._wire.document(Call("HEAD", self._blob_url(digest), Scope(self._repository), what))
        if answer.status not in (200, 404):
            raise self._wire.refusal(answer, what)
        if answer.status == 200:
            self._saw(digest)
        return answer.status == 200

    def _saw(self, digest: Digest) -> None:
        with self._lock:
            self._seen.add(digest)

    def _confirm(self, desc: Descriptor) -> None:
        """Ask for what was just sent (F11). Raises: IntegrityError where the registry does not have it."""
        if not self._has_blob(desc.digest):
            raise IntegrityError(f"{self.name}@{desc.digest}: {self._wire.host} took it and does not have it")

    def _blob_url(self, digest: Digest) -> httpx.URL:
        return self._wire.url(f"{self._repository}/blobs/{digest}")


def _binary(stream: io.RawIOBase) -> BinaryIO:
    """typeshed has no name for what RawIOBase and BinaryIO share."""
    return stream  # type: ignore[return-value]  # RawIOBase has every method that readers of BinaryIO use here
