"""A store in memory, for tests and for what is small."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO

from mlkit.content.graph import described_referrer
from mlkit.content.storage import BlobWriter, BytesContent, Content
from mlkit.content.verify import VerifyReader
from mlkit.errors import IntegrityError, NotFoundError, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import parse_manifest
from mlkit.spec.media_types import INDEX_TYPES, MANIFEST_TYPES, OCTET_STREAM


class MemoryStore:
    """A Target and an Ingestor that forgets everything; safe to use from several threads."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self._manifests: dict[Digest, Descriptor] = {}
        self._names: dict[str, Descriptor] = {}
        self._lock = threading.Lock()

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._blobs

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        content = self._blobs.get(desc.digest)
        if content is None:
            raise NotFoundError(f"{desc.digest}: not in this store")
        if offset:
            return io.BytesIO(content[offset:])
        return VerifyReader(io.BytesIO(content), desc)  # type: ignore[return-value]  # a RawIOBase is a BinaryIO to all who read

    def push(self, desc: Descriptor, content: Content) -> None:
        if self.exists(desc):
            return
        with content.open() as stream:
            raw = VerifyReader(stream, desc).read()
        with self._lock:
            self._blobs[desc.digest] = raw
            if desc.media_type in MANIFEST_TYPES | INDEX_TYPES:
                self._manifests[desc.digest] = desc.bare

    def resolve(self, name: str) -> Descriptor:
        if name in self._names:
            return self._names[name]
        try:
            return self._manifests[Digest.parse(name)]
        except (IntegrityError, KeyError):
            raise NotFoundError(f"no {ascii(name)[:200]} in this store") from None

    def tag(self, desc: Descriptor, name: str) -> None:
        if not self.exists(desc):
            raise NotFoundError(f"{desc.digest}: not in this store, and so cannot be tagged {ascii(name)[:200]}")
        with self._lock:
            self._names[name] = desc

    def untag(self, name: str) -> Descriptor:
        """Forget a name and give what it pointed at. Raises: NotFoundError."""
        with self._lock:
            try:
                return self._names.pop(name)
            except KeyError:
                raise NotFoundError(f"no {ascii(name)[:200]} in this store") from None

    def names(self) -> dict[str, Descriptor]:
        """What every name points at."""
        return dict(self._names)

    def referrers(self, desc: Descriptor, artifact_type: str | None = None) -> Iterator[Descriptor]:
        for known in tuple(self._manifests.values()):
            document = parse_manifest(self._blobs[known.digest], media_type=known.media_type, what=str(known.digest))
            subject = document.subject
            if subject is None or subject.digest != desc.digest:
                continue
            found = described_referrer(document)
            if artifact_type in (None, found.artifact_type):
                yield found

    @contextmanager
    def ingest(self) -> Iterator[BlobWriter]:
        yield _MemoryWriter(self)

    def raw(self, desc: Descriptor) -> bytes:
        """The verified bytes of a document."""
        with self.open(desc) as stream:
            return stream.read()


class _MemoryWriter:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._content = bytearray()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._content += chunk

    def copy_from(self, source: BinaryIO, count: int) -> None:
        chunk = source.read(count)
        if len(chunk) != count:
            raise SizeMismatch(f"the file ended {count - len(chunk)} bytes early")
        self._content += chunk

    def commit(self) -> tuple[Digest, int]:
        raw = bytes(self._content)
        digest = Digest("sha256", hashlib.sha256(raw).hexdigest())
        self._store.push(Descriptor(OCTET_STREAM, digest, len(raw)), BytesContent(raw))
        return digest, len(raw)
