"""Manifests and indexes of one repository: by digest and tag, hashed here, whatever the registry says of them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping

import httpx

from mlkit.content.storage import LostContent
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError
from mlkit.registry.auth import Scope
from mlkit.registry.failures import error_codes
from mlkit.registry.wire import Body, Call, Document, Wire
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import parse_manifest
from mlkit.spec.media_types import DOCKER_INDEX, DOCKER_MANIFEST, INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from mlkit.spec.reference import is_tag

_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_BLOB_UNKNOWN = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_DIGEST = re.compile(rb"\bsha256:[0-9a-f]{64}\b|\bsha512:[0-9a-f]{128}\b")
_KEPT_BYTES = 8 * 1024 * 1024  # of manifests that were seen, so that nothing is asked for twice in one run


def is_manifest(desc: Descriptor) -> bool:
    """Whether a registry keeps such content under `/manifests/`."""
    return desc.media_type in MANIFEST_TYPES or desc.media_type in INDEX_TYPES


class Manifests:
    """Thread-safe."""

    def __init__(self, wire: Wire, repository: str) -> None:
        self._wire = wire
        self._repository = repository
        self._name = f"{wire.host}/{repository}"
        self._lock = threading.Lock()
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._kept_bytes = 0

    @property
    def name(self) -> str:
        """`host/repository`."""
        return self._name

    def resolve(self, name: str) -> Descriptor:
        """What a tag or digest points at, by the bytes behind it. Raises: NotFoundError, IntegrityError, LimitError."""
        digest = Digest.parse(name) if ":" in name else None
        if digest is None and not is_tag(name):
            raise NotFoundError(f"{self._name}: {ascii(name)[:150]} is no tag")
        document = self._get(name)
        content_type = document.headers.get("Content-Type")
        desc = parse_manifest(document.raw, media_type=content_type, what=self._what(name)).descriptor
        desc = _redigested(desc, document.raw, digest, self._what(name))
        self._check_told(document, desc.digest, self._what(name))
        self._keep(desc.digest, document.raw)
        return desc

    def exists(self, desc: Descriptor) -> bool:
        """Whether the registry has it under its digest."""
        what = self._what(str(desc.digest))
        call = Call("HEAD", self._url(str(desc.digest)), self._scope("pull"), what, {"Accept": _ACCEPT})
        answer = self._wire.document(call)
        if answer.status not in (200, 404):
            raise self._wire.refusal(answer, what)
        return answer.status == 200

    def told(self, name: str) -> Digest | None:
        """What the registry says the digest of a tag is; None where it does not say, or has no such tag."""
        call = Call("HEAD", self._url(name), self._scope("pull"), self._what(name), {"Accept": _ACCEPT})
        answer = self._wire.document(call)
        if answer.status not in (200, 404):
            raise self._wire.refusal(answer, self._what(name))
        try:
            return Digest.parse(answer.headers.get("Docker-Content-Digest"))
        except IntegrityError:
            return None

    def raw(self, desc: Descriptor) -> bytes:
        """The bytes as the registry gives them, not verified yet. Raises: NotFoundError, LimitError."""
        with self._lock:
            kept = self._kept.get(desc.digest)
        if kept is not None:
            return kept
        if desc.size > MANIFEST_LIMIT:
            raise LimitError(f"{desc.digest}: {desc.size} bytes is more than the limit of {MANIFEST_LIMIT}")
        raw = self._get(str(desc.digest)).raw
        if len(raw) == desc.size and _digest(raw, desc.digest) == desc.digest:
            self._keep(desc.digest, raw)
        return raw

    def put(
        self, desc: Descriptor, raw: bytes, name: str, *, condition: Mapping[str, str] | None = None
    ) -> httpx.Headers:
        """Store the bytes under a tag or under their digest; `condition` are headers such as If-Match.

        Raises: LostContent where the registry lacks something that they list; IntegrityError where it says that it
        stored something else; ConflictError where the tag has moved; LimitError, AuthError, NetworkError.
        """
        what = self._what(name)
        headers = {"Content-Type": desc.media_type, **(condition or {})}
        call = Call("PUT", self._url(name), self._scope("pull,push"), what, headers, Body.of(raw))
        answer = self._wire.document(call)
        if answer.status == 412:
            raise ConflictError(f"{what}: somebody else has written it meanwhile")
        if answer.status not in (200, 201, 202):
            refusal = self._wire.refusal(answer, what)
            if _BLOB_UNKNOWN & error_codes(answer.raw):
                raise LostContent(refusal.message, _named(answer.raw) - {desc.digest}, hint=refusal.hint)
            raise refusal
        self._check_told(answer, desc.digest, what)
        self._keep(desc.digest, raw)
        return answer.headers

    def confirm(self, desc: Descriptor, raw: bytes) -> None:
        """Read back what was stored (F12). Raises: IntegrityError where the registry made something else of it."""
        if self._get(str(desc.digest)).raw != raw:
            raise IntegrityError(f"{self._what(str(desc.digest))}: {self._wire.host} changed what it was given")

    def delete(self, name: str) -> Document:
        """The registry's answer to the wish that a tag or digest be gone."""
        call = Call("DELETE", self._url(name), self._scope("delete,pull,push"), self._what(name))
        return self._wire.document(call)

    def forget(self, digest: Digest) -> None:
        """Ask the registry again the next time."""
        with self._lock:
            self._kept_bytes -= len(self._kept.pop(digest, b""))

    def get(self, name: str) -> Document | None:
        """The registry's whole answer, unchecked; None where it has nothing under that name."""
        call = Call("GET", self._url(name), self._scope("pull"), self._what(name), {"Accept": _ACCEPT})
        answer = self._wire.document(call, limit=MANIFEST_LIMIT)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._wire.refusal(answer, self._what(name))
        if len(answer.raw) > MANIFEST_LIMIT:
            raise LimitError(f"{self._what(name)}: more than the limit of {MANIFEST_LIMIT} bytes")
        return answer

    def _get(self, name: str) -> Document:
        answer = self.get(name)
        if answer is None:
            raise NotFoundError(f'{self._name}: no {"manifest" if ":" in name else "tag"} "{name}"')
        return answer

    def _check_told(self, answer: Document, digest: Digest, what: str) -> None:
        """The digest of the bytes decides; a registry that says another one is not to be believed in anything (F07)."""
        told = answer.headers.get("Docker-Content-Digest")
        if told and told.partition(":")[0] == digest.algorithm and told != str(digest):
            raise IntegrityError(f"{what}: {self._wire.host} says {ascii(told)[:100]}, but the content is {digest}")

    def _keep(self, digest: Digest, raw: bytes) -> None:
        with self._lock:
            self._kept_bytes += len(raw) - len(self._kept.pop(digest, b""))
            self._kept[digest] = raw
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _url(self, name: str) -> httpx.URL:
        return self._wire.url(f"{self._repository}/manifests/{name}")

    def _scope(self, actions: str) -> Scope:
        return Scope(self._repository, actions)

    def _what(self, name: str) -> str:
        return f"{self._name}@{name}" if ":" in name else f"{self._name}:{name}"


def _named(raw: bytes) -> frozenset[Digest]:
    """The digests in an error; registries put them into its message or its detail, each in a way of its own."""
    return frozenset(Digest.parse(found.decode("ascii")) for found in _DIGEST.findall(raw))


def _digest(raw: bytes, like: Digest) -> Digest:
    hasher = like.hasher()
    hasher.update(raw)
    return Digest.finished(hasher)


def _redigested(desc: Descriptor, raw: bytes, asked: Digest | None, what: str) -> Descriptor:
    """The descriptor under the digest that was asked for, which may be of another algorithm than ours."""
    if asked is None:
        return desc
    found = _digest(raw, asked)
    if found != asked:
        raise IntegrityError(f"{what}: the content is {found}")
    return Descriptor(desc.media_type, asked, desc.size, artifact_type=desc.artifact_type)
