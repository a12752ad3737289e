"""Questions about kits: inspect, info, files, cat, diff, and a handle for programs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from mlkit.api.listing import manifest_size
from mlkit.api.policies import enforce
from mlkit.api.session import Located, Session, Source, explained_trouble
from mlkit.api.variants import ANY, Choice, choose_in, find, locate
from mlkit.content.copy import missing
from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import IntegrityError, LimitError, NotFoundError, UnsafeError, UsageError
from mlkit.packing.artifacts import ArtifactKind, identify
from mlkit.packing.diff import KitDiff
from mlkit.packing.diff import diff as diff_kits
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.packing.members import members
from mlkit.packing.read import open_file
from mlkit.packing.select import select
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.kitfile import Kitfile, kitfile_json
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import FILEPATH, INDEX_TYPES, TITLE
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from mlkit.api.evidence import AttachedStatement

_CHUNK = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class InspectedLayer:
    """One layer of a manifest; class, entry and kind are None where the manifest is no kit."""

    digest: Digest
    size: int
    media_type: str
    path: str | None
    cls: str | None
    entry: str | None
    kind: str | None
    compression: str | None
    files: int | None
    """None where nobody knows until the layer is read."""
    is_local: bool


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a manifest is and holds."""

    reference: str
    digest: Digest
    media_type: str
    artifact_type: str | None
    kind: ArtifactKind
    """What it is; whether its files can be had is another matter."""
    title: str
    """The kind in words, for example `a container image`."""
    is_kit: bool
    """Whether it can be unpacked: it is a kit, or an artifact of another tool that can be read like one."""
    problem: str | None
    """Why it cannot, where it should be a kit and is none."""
    size: int
    annotations: dict[str, str]
    entries: tuple[EntryRecord, ...]
    layers: tuple[InspectedLayer, ...]
    referrers: tuple[Descriptor, ...]
    attached: tuple[AttachedStatement, ...]
    """Signatures and attestations by their own word; `verify` says whose they are."""
    is_partial: bool
    source: Source
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Info:
    """The Kitfile as it was packed."""

    reference: str
    digest: Digest
    kitfile_text: str
    kitfile: dict[str, Any]
    entries: tuple[EntryRecord, ...]
    value: Any
    """The part that was asked for, the whole Kitfile otherwise."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of a kit, or a whole layer of another tool that is not here: its files are known when it is read."""

    path: str
    """The entry's, for a whole layer."""
    size: int
    digest: Digest | None
    """None for a whole layer."""
    layer: Digest
    cls: str
    entry: str


class OpenKit:
    """A kit to read from in a program: nothing is fetched but what is asked for."""

    def __init__(self, located: Located) -> None:
        self._located = located
        with explained_trouble(located):
            self._kit = load_kit(located.store, located.desc)

    @property
    def reference(self) -> Reference:
        """The reference it was opened by."""
        return self._located.reference

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self._located.desc.digest

    @property
    def kitfile(self) -> Kitfile:
        """The author's Kitfile."""
        return self._kit.kitfile

    @property
    def entries(self) -> tuple[EntryRecord, ...]:
        """The entries, in the order of their classes."""
        return self._kit.entries

    def files(self, filters: Sequence[str] = ()) -> tuple[ListedFile, ...]:
        """The files, or the selected ones. Raises: NotFoundError for a filter that matches nothing."""
        is_local = self._located.source == "local"
        with explained_trouble(self._located):
            return _files(self._kit, self._located.store, filters, is_here=lambda _: is_local)

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A stream of one file, verified before its last byte. Raises: NotFoundError."""
        return open_file(self._kit, self._located.store, path)

    def read(self, path: str) -> bytes:
        """One file, whole, in memory. Raises: NotFoundError."""
        with explained_trouble(self._located), self.open(path) as stream:
            return stream.read()


def inspect(session: Session, reference: Reference, *, choice: Choice = ANY, remote: bool = False) -> Inspected:
    """Look at a manifest, kit or not, local first; of an index, at the kit that is chosen, if any.

    Raises: NotFoundError.
    """
    located = session.locate(reference, remote=remote)
    if choice.is_made:
        located = choose_in(session, located, choice).located
    with explained_trouble(located):
        raw = read_blob(located.store, located.desc, limit=MANIFEST_LIMIT)
        document = parse_manifest(raw, media_type=located.desc.media_type, what=str(reference))
        kit, problem = _readable(located, document)
    found = identify(document)
    from mlkit.api.evidence import attached_to

    return Inspected(
        reference=str(reference),
        digest=located.desc.digest,
        media_type=document.descriptor.media_type,
        artifact_type=document.artifact_type,
        kind=found.kind,
        title=found.title,
        is_kit=kit is not None,
        problem=problem,
        size=manifest_size(document),
        annotations=dict(document.annotations),
        entries=kit.entries if kit else (),
        layers=tuple(_layers(session, document, kit)),
        referrers=_referrers(session, located),
        attached=attached_to(session, located),
        is_partial=located.source == "local" and bool(missing(session.layout, located.desc)),
        source=located.source,
        manifest=parse_object(raw, what=str(reference)),
    )


def info(
    session: Session, reference: Reference, *, choice: Choice = ANY, part: str | None = None, remote: bool = False
) -> Info:
    """The Kitfile as packed; `part` is an address in it such as `datasets[0].path`. Raises: NotFoundError."""
    located = locate(session, reference, choice, remote=remote)
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
    document = kitfile_json(kit.kitfile)
    return Info(
        reference=str(reference),
        digest=located.desc.digest,
        kitfile_text=kit.kitfile_text,
        kitfile=document,
        entries=kit.entries,
        value=_part(document, part, reference) if part else document,
    )


def files(
    session: Session,
    reference: Reference,
    *,
    choice: Choice = ANY,
    filters: Sequence[str] = (),
    remote: bool = False,
) -> tuple[ListedFile, ...]:
    """Every file of a kit, or the selected ones; layers are not fetched. Raises: NotFoundError.

    Layers of other tools are read, where they are here, to know their files; those that are not are listed whole.
    """
    located = locate(session, reference, choice, remote=remote)
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        listed = _files(kit, located.store, filters, is_here=session.layout.exists)
    closed = sum(file.digest is None for file in listed)
    if closed:
        session.progress.warn(
            f"{reference}: {closed} of its layers are listed whole, because their files are known only when they are "
            "read; `mlkit pull` brings them here"
        )
    return listed


def cat(
    session: Session,
    reference: Reference,
    path: str,
    sink: BinaryIO,
    *,
    choice: Choice = ANY,
    remote: bool = False,
) -> int:
    """Write one file to `sink`, fetching only its bytes; gives their number.

    Raises: NotFoundError, IntegrityError; PolicyError where the configured policy refuses the kit.
    """
    located = _allowed(session, reference, choice, purpose="cat", remote=remote)
    count = 0
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        with open_file(kit, located.store, path) as stream:
            while chunk := stream.read(_CHUNK):
                sink.write(chunk)
                count += len(chunk)
    return count


def diff(session: Session, before: str, after: str) -> KitDiff:
    """What differs between two kits; `local://` and `remote://` before a reference say where to look for it."""
    return diff_kits(_load(session, before), _load(session, after))


def open_kit(session: Session, reference: Reference, *, choice: Choice = ANY, remote: bool = False) -> OpenKit:
    """A handle to read from; it lives as long as the session. Raises: NotFoundError, PolicyError."""
    return OpenKit(_allowed(session, reference, choice, purpose="open", remote=remote))


def _allowed(session: Session, reference: Reference, choice: Choice, *, purpose: str, remote: bool) -> Located:
    """A kit whose files may be used. What tells of a kit (inspect, files, diff) needs no leave: people look at what was
    refused."""
    chosen = find(session, reference, choice, remote=remote)
    enforce(session, chosen.named, purpose=purpose, kits=() if chosen.located is chosen.named else (chosen.located,))
    return chosen.located


def _load(session: Session, text: str) -> Kit:
    where, separator, rest = text.partition("://")
    if separator and where not in ("local", "remote"):
        raise UsageError(f"{text}: only local:// and remote:// stand before a reference here")
    reference = Reference.parse(rest if separator else text)
    if where == "local" and separator:
        session.local(reference)
    located = locate(session, reference, ANY, remote=bool(separator) and where == "remote")
    with explained_trouble(located):
        return load_kit(located.store, located.desc)


def _files(
    kit: Kit, store: ReadOnlyStorage, filters: Sequence[str], *, is_here: Callable[[Descriptor], bool]
) -> tuple[ListedFile, ...]:
    chosen = {_place(found.layer): found for found in select(kit, filters).layers} if filters else None
    listed: list[ListedFile] = []
    for layer in kit.layers:
        selected = chosen.get(_place(layer)) if chosen is not None else None
        if chosen is not None and selected is None:
            continue
        where = (layer.desc.digest, str(layer.cls), layer.entry)
        if layer.files is None and not is_here(layer.desc):
            listed.append(ListedFile(layer.path, layer.desc.size, None, *where))
            continue
        listed.extend(
            ListedFile(file.path, file.size, file.digest, *where)
            for file in (members(layer, store) if layer.files is None else layer.files)
            if selected is None or selected.wants(file.path)
        )
    return tuple(listed)


def _place(layer: KitLayer) -> tuple[Digest, str, str]:
    """Which layer it is: equal files in two entries are two layers of one digest."""
    return layer.desc.digest, layer.entry, layer.path


def _readable(located: Located, document: Manifest | Index) -> tuple[Kit | None, str | None]:
    """The kit that a manifest is, or why it is none; a broken one can be looked at, if not unpacked."""
    try:
        return load_kit(located.store, located.desc), None
    except (IntegrityError, LimitError, UnsafeError, UsageError) as error:
        is_meant = isinstance(document, Manifest) and document.is_kit
        return None, error.message if is_meant else None


def _layers(session: Session, document: Manifest | Index, kit: Kit | None) -> Iterator[InspectedLayer]:
    known: defaultdict[Digest, list[KitLayer]] = defaultdict(list)
    for layer in reversed(kit.layers) if kit else ():
        known[layer.desc.digest].append(layer)
    for desc in document.layers if isinstance(document, Manifest) else document.manifests:
        found = known[desc.digest].pop() if known[desc.digest] else None
        yield InspectedLayer(
            digest=desc.digest,
            size=desc.size,
            media_type=desc.media_type,
            path=found.path if found else desc.annotations.get(TITLE) or desc.annotations.get(FILEPATH),
            cls=str(found.cls) if found else None,
            entry=found.entry if found else None,
            kind=found.kind if found else None,
            compression=found.compression if found else None,
            files=len(found.files) if found and found.files is not None else None,
            is_local=session.layout.exists(desc),
        )


def _referrers(session: Session, located: Located) -> tuple[Descriptor, ...]:
    if located.source == "local":
        return tuple(session.layout.referrers(located.desc))
    if located.desc.media_type in INDEX_TYPES:
        return ()
    return tuple(session.remote(located.reference).referrers(located.desc))


_STEP = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)((?:\[[0-9]{1,6}\])*)", re.ASCII)


def _part(document: dict[str, Any], part: str, reference: Reference) -> Any:
    value: Any = document
    for step in part.split("."):
        found = _STEP.fullmatch(step)
        if found is None:
            raise UsageError(
                f"{part!r} is not an address in a Kitfile", hint="for example package.version or datasets[0].path"
            )
        try:
            value = value[found[1]]
            for number in re.findall(r"[0-9]+", found[2]):
                value = value[int(number)]
        except (KeyError, IndexError, TypeError) as error:
            raise NotFoundError(
                f"{reference}: its Kitfile has no {part!r}", hint=f"it has {', '.join(document)}" if document else None
            ) from error
    return value
