"""The protocol in the middle: what every store of content can do (ADR 0001).

A memory store, a directory and a registry all pass one contract test, `tests/content/contract.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from mlkit.content.pace import Connections
from mlkit.errors import DigestMismatch, LimitError, MlkitError, NetworkError, SizeMismatch, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


class Content(Protocol):
    """Bytes that can be read more than once, from any offset: a request that is sent again starts over."""

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """A stream of the bytes from `offset` to the end."""


@runtime_checkable
class Metered(Content, Protocol):
    """Content that wants to know what of it did not move, though it was read."""

    def had(self, count: int) -> None:
        """Told by the target of the `count` bytes that it read last: an earlier run had brought them."""


@runtime_checkable
class Resumable(Content, Protocol):
    """Content from far away: a target goes on where an earlier run stopped, and asks again for what arrived broken."""

    @property
    def connections(self) -> Connections | None:
        """What may be opened at once; None where `open_range` makes no sense."""

    def resumed(self, count: int) -> None:
        """Told by the target before it opens anything: it has `count` bytes, and will ask for no others twice.

        Told again, with 0, where those turned out useless.
        """

    def open_range(self, *, offset: int, length: int, is_exact: bool) -> AbstractContextManager[BinaryIO]:
        """A stream of `length` bytes from `offset` on. `is_exact`: as of `Ranged`."""


class ReadOnlyStorage(Protocol):
    """Content that can be asked for by descriptor."""

    def exists(self, desc: Descriptor) -> bool:
        """Whether the content can be opened; says nothing about whether its bytes are sound."""

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """A stream of the content.

        From offset 0 it is verified: the read that would hand over the last byte raises DigestMismatch or SizeMismatch
        instead. From any other offset nothing can be verified, and the caller must know a digest of the part it reads.
        Raises: NotFoundError.
        """


class Storage(ReadOnlyStorage, Protocol):
    """Content that can be added to."""

    def push(self, desc: Descriptor, content: Content) -> None:
        """Add content; does nothing where it is already there.

        Raises: DigestMismatch or SizeMismatch, and then the store is as it was.
        """


class Target(Storage, Protocol):
    """A store with names."""

    def resolve(self, name: str) -> Descriptor:
        """What a name or a digest (as text) points at. Raises: NotFoundError."""

    def tag(self, desc: Descriptor, name: str) -> None:
        """Let `name` point at a manifest that is in the store. Raises: NotFoundError where it is not."""

    def referrers(self, desc: Descriptor, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """The manifests whose `subject` is `desc`."""


Broken = Callable[[Descriptor, MlkitError], None]
"""Told of a referrer, as it is listed, that cannot be read, and why."""


class BlobWriter(Protocol):
    """Bytes on their way into a store, before anyone knows their digest."""

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append a chunk; the buffer may be used again when this returns."""

    def copy_from(self, source: BinaryIO, count: int) -> None:
        """Append exactly `count` bytes of an open regular file from its position on, by the fastest way there is.

        Raises: SizeMismatch where the file ends early.
        """

    def commit(self) -> tuple[Digest, int]:
        """Make the content durable and give its digest and size in bytes. Without this call it is dropped."""


class OnlyWhole(UsageError):
    """A store takes content only where its digest is known beforehand."""


@runtime_checkable
class Ingestor(Protocol):
    """Optional capability: a store that takes content of unknown digest, hashing while it arrives."""

    def ingest(self) -> AbstractContextManager[BlobWriter]:
        """A writer; leaving the context without `commit` drops what was written. Raises: OnlyWhole, later perhaps."""


@runtime_checkable
class Taker(Protocol):
    """Optional capability: an Ingestor that rather reads content itself, and some of it again where that is wanted."""

    def take(self, content: Content, size: int) -> Digest:
        """Add `size` bytes whose digest is found on the way. Content that is opened verifies itself to its end.

        Raises: OnlyWhole; what reading raises, and then the store is as it was.
        """


@runtime_checkable
class FileBacked(Protocol):
    """Optional capability: a store that can name the file which holds some content."""

    def path(self, desc: Descriptor) -> Path | None:
        """The file, for kernel copies; its bytes are not verified. None where there is none."""


class LostContent(NetworkError):
    """A target refuses a manifest since it lacks content that it had, or took, a moment ago."""

    def __init__(self, message: str, digests: frozenset[Digest], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.digests = digests
        """What to push again, without asking whether it exists; then the manifest."""


class RangesRefused(NetworkError):
    """A server that gives blobs only whole was asked for a part and nothing else."""


@runtime_checkable
class Ranged(Protocol):
    """Optional capability: a store that can be asked for a part, and then moves no more than that."""

    def open_range(
        self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
    ) -> AbstractContextManager[BinaryIO]:
        """A stream of `length` bytes from `offset` on, not verified.

        `is_exact`: rather fail than read what lies before, from a server that gives blobs only whole.
        Raises: NotFoundError; RangesRefused where `is_exact`.
        """


def open_part(
    store: ReadOnlyStorage, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
) -> AbstractContextManager[BinaryIO]:
    """A stream from `offset` on, not to be taken for verified, of which the caller reads `length` bytes at most.

    `is_exact`: as of `Ranged`, where the store is one.
    """
    if length == 0:
        # An HTTP range cannot say so (RFC 9110, 14.1.2): its last position is not before its first.
        return io.BytesIO()
    if isinstance(store, Ranged):
        return store.open_range(desc, offset=offset, length=length, is_exact=is_exact)
    return store.open(desc, offset=offset)


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Content that is already in memory: manifests, configs, documents."""

    data: bytes

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        return io.BytesIO(self.data[offset:])


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content that lies in another store."""

    store: ReadOnlyStorage
    desc: Descriptor

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        return self.store.open(self.desc, offset=offset)


def read_blob(store: ReadOnlyStorage, desc: Descriptor, *, limit: int) -> bytes:
    """All bytes of a small document, verified; asked for once more where they arrive broken.

    Raises: LimitError where the descriptor says more than `limit` bytes; what the store raises.
    """
    if desc.size > limit:
        raise LimitError(f"{desc.digest}: {desc.size} bytes is more than the limit of {limit}")
    if desc.data is not None:
        return desc.data
    try:
        return _read_whole(store, desc)
    except (DigestMismatch, SizeMismatch):
        return _read_whole(store, desc)


def _read_whole(store: ReadOnlyStorage, desc: Descriptor) -> bytes:
    with store.open(desc) as stream:
        return stream.read(desc.size)
