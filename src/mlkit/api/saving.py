"""Kits in one file, for places without a network: an OCI image layout in a tar, whose bytes its content decides."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlkit.api.cosign_tags import older_signatures
from mlkit.api.moving import explained_referrers, kit_size
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.archive.tar import END, Member, layout_offsets, padding, tar_header
from mlkit.content.graph import is_document, walk
from mlkit.content.lock import sync, sync_directory
from mlkit.content.referrers import referring
from mlkit.content.storage import BytesContent, Content, StoredContent
from mlkit.content.verify import read_some
from mlkit.errors import ConflictError, IntegrityError, StoreError, UsageError
from mlkit.progress import Outcome
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.media_types import FILEPATH, OCI_INDEX, REF_NAME, TITLE
from mlkit.spec.reference import Reference

_BLOCK = 1 << 20  # bytes that are in memory at a time
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})


@dataclass(frozen=True, slots=True)
class SavedKit:
    """A kit in a bundle."""

    reference: str | None
    """The name under which it will be loaded; None for one that was asked for by its digest alone."""
    digest: Digest
    size: int
    """Bytes, without its referrers."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A bundle that was written."""

    kits: tuple[SavedKit, ...]
    referrers: int
    size: int
    """Bytes of the whole file."""


def save(
    session: Session,
    references: Sequence[Reference],
    file: Path,
    *,
    referrers: bool = True,
    remote: bool = False,
    overwrite: bool = False,
) -> Saved:
    """Write kits into a new file, whole or not at all. Raises: ConflictError where it exists; like `write_bundle`."""
    with _whole_file(file, overwrite=overwrite) as sink:
        return write_bundle(session, references, sink, referrers=referrers, remote=remote)


def write_bundle(
    session: Session, references: Sequence[Reference], sink: BinaryIO, *, referrers: bool = True, remote: bool = False
) -> Saved:
    """Write kits, each digest once, and what refers to them; every byte is verified before its last block is written.

    From the local store, or from its registry what is not there; `remote` asks the registry alone. The same kits give
    the same bytes, in whatever order and from wherever they come. `sink` takes every byte of a `write`.
    Raises: NotFoundError; UsageError for one name with two digests; IntegrityError, NetworkError.
    """
    contents = _Contents(session)
    for reference in dict.fromkeys(references):
        contents.add(session.locate(reference, remote=remote), with_referrers=referrers)
    parts = contents.parts()
    _, size = layout_offsets(part.member for part in parts)
    for part in parts:
        sink.write(tar_header(part.member))
        _write_content(session, sink, part)
        sink.write(padding(part.member.size))
    sink.write(END)
    return Saved(tuple(contents.kits), len(contents.referrers), size)


@dataclass(frozen=True, slots=True)
class _Part:
    """A member of the tar."""

    member: Member
    content: Content
    label: str | None = None
    """What people call it, where it takes long enough to be told of."""


class _Contents:
    """What goes into a bundle, collected before anything is written: manifests are read, blobs are not."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[Digest, tuple[Descriptor, Located]] = {}
        self._names: dict[str, Descriptor] = {}
        self._nameless: dict[Digest, Descriptor] = {}
        self.kits: list[SavedKit] = []
        self.referrers: set[Digest] = set()

    def add(self, located: Located, *, with_referrers: bool) -> None:
        reference, desc = located.reference, located.desc.bare
        name = None if reference.digest is not None and reference.tag is None else reference.local_name
        if name is None:
            self._nameless[desc.digest] = desc
        elif self._names.setdefault(name, desc).digest != desc.digest:
            raise UsageError(f"{name}: one name for two kits, {self._names[name].digest} and {desc.digest}")
        with explained_trouble(located):
            self._add_graph(located, desc)
            self.kits.append(SavedKit(name, desc.digest, kit_size(located.store, desc)))
            if not with_referrers:
                return
            is_local = located.source == "local"
            referred = self._session.layout if is_local else self._session.remote(reference)
            with explained_referrers():
                for referrer in referring(referred, desc, limit=self._session.settings.limits.referrers):
                    self._add_graph(located, referrer)
                    self._nameless[referrer.digest] = referrer
                    self.referrers.add(referrer.digest)
                for tag, name, signatures in older_signatures(self._session, referred, desc):
                    self._add_graph(located, signatures)
                    self._names.setdefault(name if is_local else f"{reference.name}:{tag}", signatures)
                    self.referrers.add(signatures.digest)

    def parts(self) -> list[_Part]:
        """Everything in the order of the file: marker, index, folders, documents by digest, blobs by digest."""
        small = (("oci-layout", render_json({"imageLayoutVersion": "1.0.0"})), ("index.json", self._index()))
        folders = ("blobs", *(f"blobs/{algorithm}" for algorithm in sorted({one.algorithm for one in self._found})))
        ordered = sorted(self._found.values(), key=lambda item: (not is_document(item[0]), item[0].digest))
        return [
            *(_Part(Member(name, len(raw), 0o644), BytesContent(raw)) for name, raw in small),
            *(_Part(Member(name, 0, 0o755, is_dir=True), BytesContent(b"")) for name in folders),
            *(_blob(desc, located) for desc, located in ordered),
        ]

    def _add_graph(self, located: Located, root: Descriptor) -> None:
        for desc, _ in walk(located.store, root):
            known, _ = self._found.setdefault(desc.digest, (desc, located))
            if known.size != desc.size:
                raise IntegrityError(f"{desc.digest}: listed with two sizes, {known.size} and {desc.size}")

    def _index(self) -> bytes:
        named = [self._names[name].with_annotations({REF_NAME: name}) for name in sorted(self._names)]
        have_names = {desc.digest for desc in named}
        nameless = [self._nameless[digest] for digest in sorted(self._nameless) if digest not in have_names]
        entries = [desc.render() for desc in (*named, *nameless)]
        return render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


@dataclass(frozen=True, slots=True)
class _Explained:
    """Content of a kit; says how to get it where it is not there."""

    located: Located
    desc: Descriptor

    @contextmanager
    def open(self, *, offset: int = 0) -> Iterator[BinaryIO]:
        with (
            explained_trouble(self.located),
            StoredContent(self.located.store, self.desc).open(offset=offset) as stream,
        ):
            yield stream


def _blob(desc: Descriptor, located: Located) -> _Part:
    member = Member(f"blobs/{desc.digest.algorithm}/{desc.digest.hex}", desc.size, 0o644)
    label = desc.annotations.get(TITLE) or desc.annotations.get(FILEPATH) or desc.digest.short
    return _Part(member, _Explained(located, desc), label)


def _write_content(session: Session, sink: BinaryIO, part: _Part) -> None:
    key, buffer = part.member.name, memoryview(bytearray(min(_BLOCK, max(part.member.size, 1))))
    if part.label is not None:
        session.progress.start(key, part.label, part.member.size)
    outcome: Outcome = "failed"
    try:
        with part.content.open() as stream:
            while count := read_some(stream, buffer):
                sink.write(buffer[:count])
                if part.label is not None:
                    session.progress.advance(key, count)
        outcome = "done"
    finally:
        if part.label is not None:
            session.progress.finish(key, outcome)


@contextmanager
def _whole_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that is there when the block ends well, and only then. Raises: ConflictError, StoreError, UsageError."""
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: is no regular file", hint="-o - writes to stdout")
    if not overwrite and os.path.lexists(path):
        raise _exists(path)
    # 0666 and the umask, as for any file of the user's.
    written = path.with_name(f".mlkit-save-{os.urandom(8).hex()}")
    try:
        with written.open("xb") as sink:
            yield sink
            sink.flush()
            sync(sink.fileno())
        _put(written, path, overwrite=overwrite)
        sync_directory(path.parent)
    except OSError as error:
        hint = "free some space, and give the same command again" if error.errno == errno.ENOSPC else None
        raise StoreError(f"{path}: cannot be written: {os.strerror(error.errno or 0)}", hint=hint) from error
    finally:
        written.unlink(missing_ok=True)


def _put(written: Path, path: Path, *, overwrite: bool) -> None:
    """Give the file its name: never over one that somebody else has made meanwhile, unless that was asked for."""
    if not overwrite:
        try:
            path.hardlink_to(written)
        except FileExistsError as error:
            raise _exists(path) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
        if os.path.lexists(path):
            raise _exists(path)
    written.replace(path)


def _exists(path: Path) -> ConflictError:
    return ConflictError(f"{path}: exists", hint="--overwrite replaces it")
