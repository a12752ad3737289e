"""Kits out of one file, whoever made it: an OCI image layout in a tar, verified while it streams into the store.

The tar may come from mlkit, skopeo (`oci-archive:`), oras, docker or an enemy, in any order, from a file or a pipe.
Only `oci-layout`, `index.json` and `blobs/` are looked at; names appear in the store when all else is there and sound.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlkit.api.cosign_tags import Place, enter, signatures_under
from mlkit.api.session import Session
from mlkit.archive.names import shown
from mlkit.archive.reader import TarReader
from mlkit.archive.tar import Member
from mlkit.content.graph import document, is_document, walk
from mlkit.content.layout import Layout
from mlkit.content.storage import StoredContent
from mlkit.content.verify import MeteredReader
from mlkit.errors import (
    IntegrityError,
    LimitError,
    MlkitError,
    NotFoundError,
    StoreError,
    UnsafeError,
    UsageError,
)
from mlkit.progress import Outcome
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.manifest import Index, parse_manifest
from mlkit.spec.media_types import OCI_INDEX, OCTET_STREAM, REF_NAME
from mlkit.spec.reference import Reference, is_reserved_tag
from mlkit.spec.simple_signing import cosign_tags

_MARKER_LIMIT = 4096  # bytes of `oci-layout`, as in a layout on disk
_BUFFER = 1 << 20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}


@dataclass(frozen=True, slots=True)
class LoadedKit:
    """A kit that is in the store now."""

    reference: str | None
    """Its name; None where the bundle has none that mlkit could use."""
    digest: Digest
    replaced: Digest | None
    """What the name pointed at before, where that was something else."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a bundle brought."""

    kits: tuple[LoadedKit, ...]
    referrers: int
    moved_bytes: int
    present_bytes: int
    moved: int
    """Number of blobs and manifests."""
    present: int


def load(session: Session, file: Path, *, names: Sequence[Reference] = ()) -> Loaded:
    """Take the kits of a file into the local store. Raises: NotFoundError where there is none; like `read_bundle`."""
    if file.is_dir():
        raise UsageError(f"{file}: is a directory", hint="load reads one file, as `mlkit save -o` writes it")
    try:
        stream = file.open("rb", buffering=_BUFFER)
    except FileNotFoundError as error:
        raise NotFoundError(f"{file}: no such file") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror}") from error
    with stream:
        return read_bundle(session, stream, what=str(file), names=names)


def read_bundle(session: Session, stream: BinaryIO, *, what: str, names: Sequence[Reference] = ()) -> Loaded:
    """Take the kits of a stream into the local store; `names` are given to its only kit, instead of its own.

    Raises: IntegrityError, UnsafeError, LimitError for a bundle that is not whole or not sound, UsageError for `names`
    where it holds several kits; then no name has changed, and blobs that had arrived are left to `prune`.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_raw(stream), _BUFFER)
    with _told_of(what):
        arrival = _Arrival(session)
        _check_uncompressed(buffered, what)
        for member, content in TarReader(buffered):
            if not member.is_dir:
                arrival.take(member, content)
        roots = arrival.roots()
        older = [root for root in roots if _holds_older_signatures(session.layout, root)]
        kits = [root for root in roots if root not in older and not _is_nameless_referrer(session.layout, root)]
        for root in roots:
            _check_whole(session.layout, root)
    named = _named(session, kits, names, what)
    for root in roots:
        if root not in kits and root not in older:
            # What the store has already is entered as a referrer, and not written again.
            session.layout.push(root.bare, StoredContent(session.layout, root.bare))
    loaded = tuple(_enter(session.layout, root, name) for root, name in named)
    for root in older:
        _enter_older(session, root, loaded, what)
    return Loaded(
        loaded,
        len(roots) - len(kits),
        arrival.moved_bytes,
        arrival.present_bytes,
        arrival.moved,
        arrival.present,
    )


class _Arrival:
    """The members of the tar on their way into the store."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_marker = False
        self._index: Index | None = None
        self.moved = self.present = self.moved_bytes = self.present_bytes = 0

    def take(self, member: Member, content: BinaryIO) -> None:
        """Raises: IntegrityError, LimitError, StoreError."""
        folder, _, name = member.name.partition("/")
        if member.name == "oci-layout":
            version = parse_object(_read(member, content, _MARKER_LIMIT), what=member.name).get("imageLayoutVersion")
            if version != "1.0.0":
                raise IntegrityError(f"an OCI image layout of version {ascii(version)[:50]} (expected '1.0.0')")
            self._has_marker = True
        elif member.name == "index.json":
            index = parse_manifest(_read(member, content, MANIFEST_LIMIT), media_type=OCI_INDEX, what=member.name)
            if not isinstance(index, Index):
                raise IntegrityError(f"{member.name}: not an index")
            self._index = index
        elif folder == "blobs":
            self._take_blob(member, content, Digest.parse(name.replace("/", ":", 1)))

    def roots(self) -> tuple[Descriptor, ...]:
        """The entries of the index, which are sound. Raises: IntegrityError for what is no layout."""
        if not self._has_marker or self._index is None:
            absent = "index.json" if self._has_marker else "oci-layout"
            raise IntegrityError(
                f"no OCI image layout: it holds no {absent}",
                hint="`skopeo copy docker-archive:FILE oci-archive:NEW` turns an archive of docker into one",
            )
        named: dict[str, Digest] = {}
        for root in self._index.manifests:
            if not is_document(root):
                raise IntegrityError(
                    f"{root.digest}: index.json lists what is no manifest ({ascii(root.media_type)[:100]})"
                )
            name = root.annotations.get(REF_NAME)
            if name is not None and named.setdefault(name, root.digest) != root.digest:
                raise IntegrityError(f"{ascii(name)[:300]}: index.json gives this name to two manifests")
        return self._index.manifests

    def _take_blob(self, member: Member, content: BinaryIO, digest: Digest) -> None:
        layout, progress = self._session.layout, self._session.progress
        desc, key = Descriptor(OCTET_STREAM, digest, member.size), member.name
        progress.start(key, digest.short, member.size)
        outcome: Outcome = "failed"
        try:
            if layout.exists(desc):
                outcome = "present"
                self.present, self.present_bytes = self.present + 1, self.present_bytes + member.size
                return
            metered = MeteredReader(content, lambda count: progress.advance(key, count))
            with layout.ingest_area.writer(digest.algorithm, size=member.size) as writer:
                writer.copy_from(metered, member.size)  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO to all who read
                writer.commit_as(desc)
            outcome = "done"
            self.moved, self.moved_bytes = self.moved + 1, self.moved_bytes + member.size
        finally:
            progress.finish(key, outcome)


def _check_uncompressed(stream: io.BufferedReader, what: str) -> None:
    head = stream.peek(8)
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise UsageError(f"{what}: is compressed", hint=f"decompress it on the way: {name} -dc FILE | mlkit load -")


def _read(member: Member, content: BinaryIO, limit: int) -> bytes:
    if member.size > limit:
        raise LimitError(f"{member.name}: {member.size} bytes is more than the limit of {limit}")
    return content.read(member.size)


def _check_whole(layout: Layout, root: Descriptor) -> None:
    """Raises: IntegrityError where something below `root` is neither in the bundle nor in the store."""
    try:
        for desc, found in walk(layout, root.bare):
            if found is None and layout.blob_size(desc.digest) != desc.size:
                raise NotFoundError(f"{desc.digest}: not in the store with {desc.size} bytes")
    except NotFoundError as error:
        raise IntegrityError(f"{root.digest}: lists what the bundle does not hold: {error.message}") from error


def _is_nameless_referrer(layout: Layout, root: Descriptor) -> bool:
    if REF_NAME in root.annotations:
        return False
    try:
        return document(layout, root.bare).subject is not None
    except NotFoundError as error:
        raise IntegrityError(f"{root.digest}: index.json lists it, and the bundle does not hold it") from error


def _named(
    session: Session, kits: Sequence[Descriptor], asked: Sequence[Reference], what: str
) -> tuple[tuple[Descriptor, str | None], ...]:
    """Each kit with its name: one that was asked for, else its own if that can be a reference, else none."""
    if not kits:
        raise NotFoundError(f"{what}: holds no kit")
    if asked:
        if len({root.digest for root in kits}) > 1:
            raise UsageError(f"{what}: holds several kits", hint="without -t each gets the name that it has there")
        return tuple((kits[0], reference.local_name) for reference in asked)
    named: list[tuple[Descriptor, str | None]] = []
    for root in kits:
        name = root.annotations.get(REF_NAME)
        if name is not None and not _is_reference(name):
            session.progress.warn(
                f"{what}: {shown(name)} is no name of a kit; `mlkit load -t REF` gives it another one"
            )
            name = None
        named.append((root, name))
    return tuple(named)


def _is_reference(name: str) -> bool:
    try:
        return Reference.parse(name).local_name == name
    except UsageError:
        return False


def _enter(layout: Layout, root: Descriptor, name: str | None) -> LoadedKit:
    # Bare: what the bundle says of a kit being partial, or of where the rest can be had, is not to be believed.
    if name is None:
        if all(known.digest != root.digest for known in layout.manifests()):
            layout.record(root.bare)
        return LoadedKit(None, root.digest, None)
    before = layout.names().get(name)
    layout.tag(root.bare, name)
    return LoadedKit(name, root.digest, None if before is None or before.digest == root.digest else before.digest)


def _enter_older(session: Session, root: Descriptor, kits: Sequence[LoadedKit], what: str) -> None:
    """Signatures under a tag of cosign's, with the name that their kit has here now."""
    repository, _, tag = root.annotations[REF_NAME].rpartition(":")
    names = [kit.reference for kit in kits if kit.reference is not None and tag in cosign_tags(kit.digest)]
    repositories = {name.rpartition(":")[0] for name in names} or {repository}
    for name in sorted(repositories):
        if _is_reference(f"{name}:latest"):
            enter(Place(session.layout, f"{name}:{tag}"), root)
        else:
            session.progress.warn(f"{what}: {shown(root.annotations[REF_NAME])} belongs to no kit, and is left out")


def _holds_older_signatures(layout: Layout, root: Descriptor) -> bool:
    tag = root.annotations.get(REF_NAME, "").rpartition(":")[2]
    if not is_reserved_tag(tag) or not tag.endswith((".sig", ".att")):
        return False
    try:
        return signatures_under(layout, root) is not None
    except NotFoundError as error:
        raise IntegrityError(f"{root.digest}: index.json lists it, and the bundle does not hold it") from error


def _raw(stream: BinaryIO) -> io.RawIOBase:
    """Any binary stream as one that a BufferedReader takes; closing it leaves the stream open."""
    return MeteredReader(stream, lambda _: None)


@contextmanager
def _told_of(what: str) -> Iterator[None]:
    """Say in which file it was that something was wrong."""
    try:
        yield
    except (IntegrityError, UnsafeError, LimitError) as error:
        told: MlkitError = type(error)(f"{what}: {error.message}", hint=error.hint)
        raise told from error
