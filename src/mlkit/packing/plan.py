"""Which layers a kit will have, decided before anything is written. Nothing here does I/O.

The rules are ADR 0006's: a file lands in the entry whose path is deepest in the tree, and what matters (weights, data,
parameters) is a raw layer of its own, so that its layer digest is its sha256.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mlkit.archive.walk import SourceFile
from mlkit.errors import LimitError, UsageError
from mlkit.packing.layer_types import Format, layer_media_type
from mlkit.spec.kit_document import Compression, EntryRecord, InputRecord, Kind
from mlkit.spec.kitfile import Entry, Kitfile, model_reference, warnings
from mlkit.spec.media_types import KIT, KITOPS_KITFILE, Class
from mlkit.spec.run_record import RunRecord
from mlkit.spec.weights import is_weight

BIG_FILE = 1024 * 1024
"""Bytes from which on a file is always a layer of its own."""
SMALL_FILE_LIMIT = 64
"""Smaller files that an entry may have as layers of their own; one more and they all share a tar."""
LAYER_LIMIT = 2000
"""Layers of a kit, the kit document included; registries and runtimes take no more than a few thousand."""
GROUP_SIZE = 1024**3
"""Bytes of files in a tar layer that exists only because of LAYER_LIMIT."""

_OWN_LAYER_CLASSES = frozenset({Class.MODEL, Class.DATASETS, Class.PARAMETERS, Class.DEPLOYMENT})
_RESERVED_ANNOTATIONS = frozenset({KIT, KITOPS_KITFILE})


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How a kit is to be packed. Raises: UsageError for an annotation that mlkit sets itself."""

    format: Format = "modelpack"
    layers: Literal["auto", "tar", "raw"] = "auto"
    compression: Compression = "none"
    """Of tar layers; a raw layer is the file itself (ModelPack has no compressed raw layers)."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Added to the manifest; wins over what the Kitfile says."""
    default_ignore: bool = True
    """Leave out junk and secrets even if no `.kitignore` names them."""
    follow_links: Path | None = None
    """Links may lead to files under this directory too."""
    created: str | None = None
    """RFC 3339; set only when the caller was told a time (SOURCE_DATE_EPOCH)."""
    concurrency: int | None = None
    """Layers that are read at once; None leaves it to whoever packs."""

    def __post_init__(self) -> None:
        reserved = _RESERVED_ANNOTATIONS & self.annotations.keys()
        if reserved:
            raise UsageError(f"annotation {min(reserved)} is set by mlkit and cannot be given")
        if self.concurrency is not None and self.concurrency < 1:
            raise UsageError(f"concurrency {self.concurrency} is not possible (expected 1 or more)")


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer to be written."""

    kind: Kind
    compression: Compression
    cls: Class
    entry: Entry
    path: str
    """What the filepath annotation says: the file of a raw layer, the entry's path for a tar."""
    media_type: str
    files: tuple[SourceFile, ...]
    """Sorted by the bytes of their paths; exactly one in a raw layer."""
    directories: tuple[str, ...] = ()
    """Empty directories that the tar holds besides the files' parents."""

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Everything that `pack` needs to know."""

    context: Path
    kitfile_text: str
    kitfile: Kitfile
    options: PackOptions
    entries: tuple[EntryRecord, ...]
    layers: tuple[PlannedLayer, ...]
    inputs: tuple[InputRecord, ...]
    ignored_secrets: tuple[str, ...]
    """Paths that were left out because they look like credentials."""
    notes: tuple[str, ...]
    """What a person should know: sentences."""
    runs: tuple[RunRecord, ...] = ()
    """Runs of the project; those count of which the kit holds a file."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(layer.size for layer in self.layers)

    @property
    def file_count(self) -> int:
        return sum(len(layer.files) for layer in self.layers)


class EntryPaths:
    """The paths of a Kitfile's entries, compared component by component.

    Never by string prefix: `model` owns `model/a`, and has nothing to do with `model_utils.py`.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._leading = {parent for path in self._entries for parent in _parents(path)}
        self._owners: dict[str, Entry | None] = {}

    def owner(self, path: str) -> Entry | None:
        """The entry deepest in the tree that the path belongs to; None where it belongs to none."""
        entry = self._entries.get(path)
        if entry is not None or path == ".":
            return entry
        parent = path.rpartition("/")[0] or "."
        # Remembered by directory: a hundred thousand files in one of them are one climb.
        if parent not in self._owners:
            self._owners[parent] = self.owner(parent)
        return self._owners[parent]

    def reaches(self, path: str) -> bool:
        """Whether an entry owns the path, or lies somewhere below it."""
        return path in self._leading or self.owner(path) is not None


def plan_pack(
    context: Path,
    kitfile_text: str,
    kitfile: Kitfile,
    options: PackOptions,
    *,
    entries: Sequence[Entry],
    files: Iterable[SourceFile],
    empty_directories: Iterable[str] = (),
    inputs: tuple[InputRecord, ...] = (),
    ignored_secrets: tuple[str, ...] = (),
) -> PackPlan:
    """Divide files into layers. Files that no entry owns are not packed.

    Raises: LimitError for more layers than a kit may have.
    """
    paths = EntryPaths(entries)
    owned: dict[str, list[SourceFile]] = {entry.id: [] for entry in entries}
    for file in files:
        owner = paths.owner(file.path)
        if owner is not None:
            owned[owner.id].append(file)
    empty: dict[str, list[str]] = {entry.id: [] for entry in entries}
    for directory in empty_directories:
        owner = paths.owner(directory)
        if owner is not None and directory != ".":
            empty[owner.id].append(directory)

    drafts: list[_Draft] = []
    notes = list(warnings(kitfile))
    for entry in entries:
        own = sorted(owned[entry.id], key=_by_path)
        own_directories = tuple(sorted(empty[entry.id], key=str.encode))
        drafts.extend(_drafts(entry, own, own_directories, options))
        if not own and not own_directories:
            notes.append(f"{entry.id}: {entry.path} holds no file of its own, so it has no layer")
    drafts = _within_limit(drafts, notes)
    if options.compression != "none" and any(draft.kind == "raw" for draft in drafts):
        notes.append(f"only tar layers are compressed with {options.compression}; --layers tar makes every layer one")
    return PackPlan(
        context=context,
        kitfile_text=kitfile_text,
        kitfile=kitfile,
        options=options,
        entries=tuple(_record(entry, empty[entry.id]) for entry in entries),
        layers=_finished(drafts, options, has_parent_kit=model_reference(kitfile) is not None),
        inputs=inputs,
        ignored_secrets=ignored_secrets,
        notes=tuple(notes),
    )


def with_tars(plan: PackPlan, numbers: Collection[int]) -> PackPlan:
    """The plan with some of its raw layers, by number, as tars of one file."""
    compression = plan.options.compression
    suffix = "tar" if compression == "none" else f"tar+{compression}"
    return replace(
        plan,
        layers=tuple(
            replace(
                layer, kind="tar", compression=compression, media_type=f"{layer.media_type.removesuffix('raw')}{suffix}"
            )
            if number in numbers
            else layer
            for number, layer in enumerate(plan.layers)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A layer before its media type is known."""

    entry: Entry
    kind: Kind
    files: tuple[SourceFile, ...]
    directories: tuple[str, ...] = ()


def _drafts(
    entry: Entry, files: list[SourceFile], directories: tuple[str, ...], options: PackOptions
) -> Iterable[_Draft]:
    if not files:
        return [_Draft(entry, "tar", (), directories)] if directories else []
    own_layer, shared = _split(entry, files, options)
    # Weights first: other tools take the first layer of the class for the model and the rest for its parts.
    own_layer.sort(key=lambda file: (entry.cls is Class.MODEL and not is_weight(file.path), *_by_path(file)))
    drafts = [_Draft(entry, "raw", (file,)) for file in own_layer]
    if shared:
        drafts.append(_Draft(entry, "tar", tuple(shared), directories))
    return drafts


def _split(entry: Entry, files: list[SourceFile], options: PackOptions) -> tuple[list[SourceFile], list[SourceFile]]:
    """Files that become layers of their own, and files that share a tar."""
    # An MCP bundle is a ZIP that its users expect byte for byte, so `kit` never puts it into a tar either.
    if entry.cls is Class.MCPSERVERS or options.layers == "raw":
        return list(files), []
    if options.layers == "tar" or entry.cls not in _OWN_LAYER_CLASSES:
        return [], list(files)
    small = [file for file in files if file.size < BIG_FILE]
    if len(small) <= SMALL_FILE_LIMIT:
        return list(files), []
    return [file for file in files if file.size >= BIG_FILE], small


def _within_limit(drafts: list[_Draft], notes: list[str]) -> list[_Draft]:
    """Group raw layers into tars, the entry with the most of them first, until the kit has few enough."""
    limit = LAYER_LIMIT - 1
    while len(drafts) > limit:
        counts: dict[str, int] = {}
        for draft in drafts:
            if _is_groupable(draft):
                counts[draft.entry.id] = counts.get(draft.entry.id, 0) + 1
        largest = max(counts, key=lambda entry_id: counts[entry_id], default=None)
        if largest is None or counts[largest] < 2:
            raise LimitError(
                f"the kit would have {len(drafts) + 1} layers, more than the limit of {LAYER_LIMIT}",
                hint="give larger directories as entries, or pack with --layers tar",
            )
        position = next(number for number, draft in enumerate(drafts) if draft.entry.id == largest)
        own = [draft for draft in drafts if draft.entry.id == largest]
        grouped = [*(draft for draft in own if not _is_groupable(draft)), *_groups(own)]
        others = [draft for draft in drafts if draft.entry.id != largest]
        drafts = [*others[:position], *grouped, *others[position:]]
        notes.append(
            f"{largest}: {counts[largest]} files share {len(grouped)} layers, "
            f"because a kit has at most {LAYER_LIMIT} layers"
        )
    return drafts


def _is_groupable(draft: _Draft) -> bool:
    return draft.kind == "raw" and draft.entry.cls is not Class.MCPSERVERS and draft.files[0].size < GROUP_SIZE


def _groups(own: list[_Draft]) -> list[_Draft]:
    """The raw layers of one entry as tars of at most GROUP_SIZE, files in the order of their paths."""
    entry = own[0].entry
    groups: list[list[SourceFile]] = [[]]
    room = GROUP_SIZE
    for file in sorted((draft.files[0] for draft in own if _is_groupable(draft)), key=_by_path):
        if file.size > room and groups[-1]:
            groups.append([])
            room = GROUP_SIZE
        groups[-1].append(file)
        room -= file.size
    return [_Draft(entry, "tar", tuple(group)) for group in groups]


def _finished(drafts: list[_Draft], options: PackOptions, *, has_parent_kit: bool) -> tuple[PlannedLayer, ...]:
    layers: list[PlannedLayer] = []
    seen: set[str] = set()
    has_model = has_parent_kit
    for draft in drafts:
        is_main_model = draft.entry.cls is Class.MODEL and not has_model
        has_model = has_model or is_main_model
        # A second tar of one entry goes by its first file: paths in a Kitfile must differ from each other.
        is_further = draft.kind == "tar" and draft.entry.id in seen
        seen.update({draft.entry.id} if draft.kind == "tar" else ())
        compression: Compression = options.compression if draft.kind == "tar" else "none"
        layers.append(
            PlannedLayer(
                kind=draft.kind,
                compression=compression,
                cls=draft.entry.cls,
                entry=draft.entry,
                path=draft.files[0].path if draft.kind == "raw" or is_further else draft.entry.path,
                media_type=layer_media_type(
                    options.format,
                    draft.entry.cls,
                    kind=draft.kind,
                    compression=compression,
                    holds_weights=_holds_weights(draft),
                    is_main_model=is_main_model,
                ),
                files=draft.files,
                directories=draft.directories,
            )
        )
    return tuple(layers)


def _holds_weights(draft: _Draft) -> bool:
    # Whoever names one file as the model says that it is weights, whatever its suffix (XGBoost writes .json).
    names_it = draft.entry.id == "model" and [file.path for file in draft.files] == [draft.entry.path]
    return names_it or any(is_weight(file.path) for file in draft.files)


def _record(entry: Entry, directories: list[str]) -> EntryRecord:
    return EntryRecord(
        id=entry.id,
        cls=entry.cls,
        name=entry.name,
        path=entry.path,
        version=entry.version,
        description=entry.description,
        directories=tuple(sorted(directories, key=str.encode)),
    )


def _by_path(file: SourceFile) -> tuple[bytes]:
    return (file.path.encode(),)


def _parents(path: str) -> Iterable[str]:
    """The directories above a path, the deepest first, ending in "."."""
    if path == ".":
        return
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
    yield "."
