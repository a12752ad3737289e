"""A store in a folder: a plain OCI image layout that other tools can read, plus `.mlkit/` (ADR 0001, threats.md 4.2).

    oci-layout  index.json  blobs/ALGORITHM/HEX
    .mlkit/lock     shared while a blob gets its place, exclusive for changes of the index and prune
    .mlkit/ingest/  bytes that have no digest yet, each file locked by its writer; unfinished downloads
    .mlkit/journal  one JSON line for each change of the index
    .mlkit/index.json.prev
    .mlkit/quarantine/  what was damaged and taken out of use
    .mlkit/uploads/     uploads to registries that may be gone on with, each file locked by who is at work on it
    .mlkit/seen.sqlite  repositories that blobs were seen in, a cache

Order of writing: blob, its name, the folder's names, the index. So whatever dies when, an index never points at a
blob that is not whole. Reading takes no lock and always verifies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from mlkit.content.blobs import Blobs
from mlkit.content.graph import described_referrer, document, is_document, walk
from mlkit.content.index import LayoutIndex, is_name, read_small, replace_file
from mlkit.content.index_file import IndexFile
from mlkit.content.ingest import IngestArea
from mlkit.content.lock import StoreLock, disk_errors
from mlkit.content.storage import BlobWriter, Broken, Content, Resumable, read_blob
from mlkit.content.subjects import Subjects
from mlkit.content.verify import VerifyReader, unverified
from mlkit.errors import (
    DigestMismatch,
    IntegrityError,
    LimitError,
    NotFoundError,
    SizeMismatch,
    StoreError,
    UsageError,
)
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object, render_json
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import OCTET_STREAM, PARTIAL

CONTROL = ".mlkit"
_MARKER = "oci-layout"
RESUMED_FROM = 8 << 20
"""Bytes of a blob from which on what has arrived of it is kept for the next process; less is soon fetched again."""
_IN_PLACE_TRIES, _IN_PLACE_WAIT = 5, 0.03  # seconds
_MARKER_LIMIT = 4096  # bytes; the specification's document has thirty


class Layout:
    """A Target, an Ingestor and FileBacked. Safe for many threads and processes at once."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`warn` is told, in a sentence, of what is odd and no error."""
        self.root = root
        self.lock = StoreLock(root / CONTROL / "lock", prepare=self._make_if_absent, warn=warn)
        self.blobs = Blobs(root)
        self._subjects = Subjects()
        self.index_file = IndexFile(root, root / CONTROL, clock, warn=warn)
        self.ingest_area = IngestArea(root / CONTROL / "ingest", self.lock, self.blobs, clock)
        self._is_absent = False

    @classmethod
    def create(
        cls, root: Path, *, clock: Callable[[], float] = time.time, warn: Callable[[str], None] = lambda _: None
    ) -> Layout:
        """The layout in `root`, made where there is none yet. Raises: StoreError where there is a broken one."""
        layout = cls.open_or_new(root, clock=clock, warn=warn)
        layout.make()
        return layout

    @classmethod
    def open_or_new(
        cls, root: Path, *, clock: Callable[[], float] = time.time, warn: Callable[[str], None] = lambda _: None
    ) -> Layout:
        """The layout in `root`; where there is none, an empty one, which is made when something is first written.

        Raises: StoreError where there is a broken one.
        """
        if (root / _MARKER).exists() or (root / _MARKER).is_symlink():
            return cls.at(root, clock=clock, warn=warn)
        layout = cls(root, clock=clock, warn=warn)
        _require_nothing(layout)
        layout._is_absent = True
        return layout

    @classmethod
    def at(
        cls, root: Path, *, clock: Callable[[], float] = time.time, warn: Callable[[str], None] = lambda _: None
    ) -> Layout:
        """The layout that is in `root`; writes nothing. Raises: StoreError where there is none, or a broken one."""
        check_marker(root)
        layout = cls(root, clock=clock, warn=warn)
        layout.index_file.read()
        return layout

    def make(self) -> None:
        """Make it, where that was put off until now. Raises: StoreError."""
        self._make_if_absent()

    @property
    def is_absent(self) -> bool:
        """Whether there is nothing yet; somebody else may make it at any time."""
        return self._is_absent and not (self.root / _MARKER).exists()

    def exists(self, desc: Descriptor) -> bool:
        """Whether the content is there in its full length. Who asks may be about to use it, so prune will spare it."""
        if self.blobs.size(desc.digest) != desc.size:
            return False
        with self.lock.shared_if_there_is_one() as is_locked:
            return self.blobs.touch(desc.digest) if is_locked else True

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """See ReadOnlyStorage. Raises also: IntegrityError for what is no regular file; StoreError for a bad disk."""
        file = self.blobs.open(desc)
        if offset:
            file.seek(offset)
            return cast(BinaryIO, file)
        return cast(BinaryIO, VerifyReader(cast(BinaryIO, file), desc))

    def raw(self, desc: Descriptor) -> bytes:
        """The verified bytes of a manifest or another document of at most 4 MiB."""
        return read_blob(self, desc, limit=MANIFEST_LIMIT)

    def path(self, desc: Descriptor) -> Path | None:
        """See FileBacked."""
        return self.blobs.path(desc.digest) if self.blobs.size(desc.digest) == desc.size else None

    def blob_size(self, digest: Digest) -> int | None:
        """Bytes on disk, None where there is no such blob."""
        return self.blobs.size(digest)

    def push(self, desc: Descriptor, content: Content) -> None:
        """See Storage. A manifest with a subject is also recorded, once it is whole, so that `referrers` finds it.

        What comes from far away and arrives broken is fetched once more, from its first byte.
        """
        if not self.exists(desc):
            try:
                self._take(desc, content)
            except (DigestMismatch, SizeMismatch):
                if not isinstance(content, Resumable):
                    raise
                content.resumed(0)
                self._take(desc, content)
        if is_document(desc):
            self._record_referrer(desc)

    @contextmanager
    def ingest(self) -> Iterator[BlobWriter]:
        """See Ingestor."""
        with self.ingest_area.writer() as writer:
            yield writer

    def names(self) -> dict[str, Descriptor]:
        """What every name points at, with the annotations of its entry. Names that are given twice are left out."""
        return {name: found[0] for name, found in self.index().by_name.items() if len(found) == 1}

    def manifests(self) -> tuple[Descriptor, ...]:
        """All entries of the index, with a name or without."""
        return tuple(entry.desc for entry in self.index().entries if entry.desc is not None)

    def index(self) -> LayoutIndex:
        """The index as it is; empty where nothing was made yet. Raises: StoreError."""
        return LayoutIndex.empty() if self.is_absent else self.index_file.read()

    def state(self) -> str:
        """A text that stays the same as long as nothing is named, recorded or taken away."""
        return str(self.index().digest)

    def findings(self) -> tuple[str, ...]:
        """One sentence for each name in the index that mlkit ignores or cannot resolve."""
        index = self.index()
        return (
            *(f"index.json: {ascii(name)[:300]} is not a name, and is ignored" for name in index.bad_names),
            *(f"index.json: {name} is given to more than one manifest" for name in index.ambiguous_names),
        )

    def resolve(self, name: str) -> Descriptor:
        """See Target. Raises: ConflictError where two entries have the name."""
        try:
            digest = Digest.parse(name)
        except IntegrityError:
            return self.index().resolve(name)
        for desc in self.manifests():
            if desc.digest == digest:
                return desc
        return self.resolve_blob(digest)

    def find(self, name: str) -> Descriptor | None:
        """Like `resolve` of a name, None where there is no such name. Raises: ConflictError."""
        return self.resolve(name) if name in self.index().by_name else None

    def tag(self, desc: Descriptor, name: str) -> None:
        """Let `name` point at a manifest, whole unless its PARTIAL annotation says otherwise.

        Raises: NotFoundError naming the blob that is missing; UsageError where `name` is no name.
        """
        if not is_name(name):
            raise UsageError(f"{ascii(name)[:300]} is not a name of a kit", hint="a name reads team/digits:1.2")
        self._change(desc, lambda index, entry: index.tagged(entry, name))

    def swap(self, desc: Descriptor, name: str, *, expected: Digest | None) -> bool:
        """Like `tag`, but only where `name` points at `expected`, or at nothing where that is None; whether it did.

        Who changes what a name points at reads, changes and swaps, and begins again where somebody was faster.
        """
        if not is_name(name):
            raise UsageError(f"{ascii(name)[:300]} is not a name of a kit", hint="a name reads team/digits:1.2")
        is_as_expected = False

        def change(index: LayoutIndex, entry: Descriptor) -> LayoutIndex:
            nonlocal is_as_expected
            found = [known.digest for known in index.named(name)]
            is_as_expected = found == ([] if expected is None else [expected])
            return index.tagged(entry, name) if is_as_expected else index

        self._change(desc, change)
        return is_as_expected

    def record(self, desc: Descriptor) -> None:
        """Keep a manifest without giving it a name. Raises: NotFoundError naming the blob that is missing."""
        self._change(desc, LayoutIndex.recorded)

    def untag(self, name: str) -> Descriptor:
        """Forget a name and give what it pointed at; the content stays until prune. Raises: NotFoundError."""
        found: tuple[Descriptor, ...] = ()

        def change(index: LayoutIndex) -> LayoutIndex:
            nonlocal found
            found = index.named(name)
            if not found:
                raise NotFoundError(f"no {ascii(name)[:300]} in this store")
            return index.untagged(name)

        with self.lock.exclusive():
            self.index_file.change(change)
        return found[0]

    def unrecord(self, desc: Descriptor) -> None:
        """Drop every entry of a manifest, with all its names."""
        with self.lock.exclusive():
            self.index_file.change(lambda index: index.without([desc.digest]))

    def delete_blob(self, digest: Digest) -> bool:
        """Delete a blob, whoever points at it; False where there is none."""
        with self.lock.exclusive():
            return self.blobs.remove(digest)

    def referrers(
        self, desc: Descriptor, artifact_type: str | None = None, *, broken: Broken | None = None
    ) -> Iterator[Descriptor]:
        """See Target: those that the index lists, each once.

        What cannot be read, and so may be one, is told to `broken`; without it, that is an error.
        """
        index = self.index()
        listed = (entry.desc for entry in index.entries if entry.desc is not None)
        for referrer in self._subjects.referring(desc.digest, index, listed, self._subject):
            try:
                found = document(self, referrer)
            except (IntegrityError, LimitError, NotFoundError) as error:
                if broken is None:
                    raise
                broken(referrer, error)
                continue
            if found.subject is None or found.subject.digest != desc.digest:
                continue
            described = described_referrer(found)
            if artifact_type in (None, described.artifact_type):
                yield described

    def _subject(self, desc: Descriptor) -> Digest | None:
        found = document(self, desc)
        return None if found.subject is None else found.subject.digest

    def _make_if_absent(self) -> None:
        if not self._is_absent:
            return
        with disk_errors(self.root):
            (self.root / CONTROL).mkdir(parents=True, exist_ok=True)
        with StoreLock(self.root / CONTROL / "lock").exclusive():
            _make(self)
        check_marker(self.root)
        self.index_file.read()
        self._is_absent = False

    def _take(self, desc: Descriptor, content: Content) -> None:
        if isinstance(content, Resumable) and desc.size >= RESUMED_FROM:
            self.ingest_area.fetch(desc, content)
            return
        with content.open() as stream, self.ingest_area.writer(desc.digest.algorithm, size=desc.size) as writer:
            source = unverified(stream)
            writer.copy_from(source, desc.size)
            if source.read(1):
                raise SizeMismatch(f"{desc.digest}: more than the expected {desc.size} bytes")
            writer.commit_as(desc)

    def _change(self, desc: Descriptor, change: Callable[[LayoutIndex, Descriptor], LayoutIndex]) -> None:
        # Under the lock from the look at the blobs to the new index, or prune could come between (I7).
        with self.lock.exclusive():
            found = self._checked_again(desc)
            self.blobs.sync()
            entry = replace(desc, artifact_type=found.artifact_type, data=None)
            self.index_file.change(lambda index: change(index, entry))

    def _checked_again(self, desc: Descriptor) -> Manifest | Index:
        for _ in range(_IN_PLACE_TRIES):
            try:
                return self._checked(desc)
            except (DigestMismatch, SizeMismatch):
                # Other programs write blobs in place, also those that are there: for a moment one is empty.
                time.sleep(_IN_PLACE_WAIT)
        return self._checked(desc)

    def _checked(self, desc: Descriptor) -> Manifest | Index:
        root = document(self, desc)
        if desc.annotations.get(PARTIAL) != "true":
            for blob, found in walk(self, desc):
                if found is None and self.blobs.size(blob.digest) != blob.size:
                    raise NotFoundError(
                        f"{desc.digest}: its blob {blob.digest} is not in the store", hint="pull the whole kit first"
                    )
        return root

    def _record_referrer(self, desc: Descriptor) -> None:
        if document(self, desc).subject is None or self.index().lists(desc.digest):
            return
        with suppress(NotFoundError):
            self.record(desc.bare)

    def resolve_blob(self, digest: Digest) -> Descriptor:
        """A manifest that only an index points at, or nobody yet. Raises: NotFoundError."""
        size = self.blobs.size(digest)
        if size is None or size > MANIFEST_LIMIT:
            raise NotFoundError(f"no manifest {digest} in this store")
        raw = self.raw(Descriptor(OCTET_STREAM, digest, size))
        try:
            return replace(parse_manifest(raw).descriptor, digest=digest)
        except (IntegrityError, LimitError):
            raise NotFoundError(f"no manifest {digest} in this store: that is another kind of content") from None


def check_marker(root: Path) -> None:
    """Raises: StoreError where a folder does not say of itself that it is a layout, of a version that mlkit knows."""
    if not root.is_dir():
        raise StoreError(f"{root}: no OCI image layout is there")
    raw = read_small(root / _MARKER, limit=_MARKER_LIMIT)
    try:
        version = parse_object(raw, what=str(root / _MARKER)).get("imageLayoutVersion")
    except (IntegrityError, LimitError) as error:
        raise StoreError(error.message, hint="`mlkit fsck --repair` writes it again") from error
    if version != "1.0.0":
        raise StoreError(f"{root}: an OCI image layout of version {ascii(version)[:50]} (expected '1.0.0')")


def _require_nothing(layout: Layout) -> None:
    """Raises: StoreError where there is a layout without its marker, which is none that mlkit was about to make."""
    root = layout.root
    if any(layout.blobs.listing()) or ((root / "index.json").exists() and layout.index_file.read().entries):
        raise StoreError(f"{root / _MARKER}: is missing", hint="`mlkit fsck --repair` puts it there again")


def _make(layout: Layout) -> None:
    """Index first, marker last: a layout with a marker and no index is then never one whose maker was interrupted."""
    root = layout.root
    if (root / _MARKER).exists():
        return
    _require_nothing(layout)
    with disk_errors(root):
        layout.blobs.make("sha256")
    replace_file(root / "index.json", LayoutIndex.empty().render(), through=root / CONTROL / "index.json.new")
    write_marker(root)


def write_marker(root: Path) -> None:
    """Say that this is an OCI image layout; for a holder of the exclusive lock. Raises: StoreError."""
    content = render_json({"imageLayoutVersion": "1.0.0"})
    replace_file(root / _MARKER, content, through=root / CONTROL / "oci-layout.new")
