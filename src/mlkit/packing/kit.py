"""A kit as it is read from a store: manifest, Kitfile, entries and layers, whichever tool wrote it.

Only small documents are read here, never a layer of files. What the documents say about each other is checked: a kit in
hand has layers that its manifest lists, and no two files that land in one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlkit.archive.names import NameSet, check_name
from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.packing.foreign import Reading, config_diff_ids, read_foreign
from mlkit.packing.kit_layer import KitLayer, annotated_path, lies_in, parse_layer_type
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.kit_document import DOCUMENT_LIMIT, EntryRecord, KitDocument, LayerRecord, parse_kit_document
from mlkit.spec.kitfile import Kitfile, entries, model_reference, parse_kitfile
from mlkit.spec.manifest import Manifest, parse_manifest
from mlkit.spec.media_types import IMAGE_CONFIGS, KIT, KIT_DOCUMENT_PATH

PARENT_ROLE = "base-model"
"""The role of the input that a reference in `model.path` is."""

CHAIN_LIMIT = 10
"""Kits whose model is a kit whose model is a kit: as many as KitOps follows."""


@dataclass(frozen=True, slots=True)
class KitFile:
    """One file of a kit."""

    path: str
    size: int
    mode: int
    digest: Digest
    layer: KitLayer
    offset: int
    """Where it begins in the uncompressed layer."""


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit's documents, read and found to agree."""

    manifest: Manifest
    kitfile: Kitfile
    kitfile_text: str
    """The author's text; for kits of other tools, the Kitfile that they amount to."""
    document: KitDocument | None
    """None in kits of other tools."""
    entries: tuple[EntryRecord, ...]
    layers: tuple[KitLayer, ...]
    """The layers with files; that of the kit document, and those of unknown type in foreign kits, are left out."""
    document_layer: Descriptor | None = None

    @property
    def files(self) -> tuple[KitFile, ...]:
        """The files that can be known without reading layers, in the order of the layers."""
        return tuple(
            KitFile(file.path, file.size, file.mode, file.digest, layer, file.offset)
            for layer in self.layers
            for file in layer.files or ()
        )

    @property
    def has_parent(self) -> bool:
        """Whether its model is (also) another kit, named in `model.path`."""
        return model_reference(self.kitfile) is not None


def load_kit(store: ReadOnlyStorage, desc: Descriptor, *, checks_config: bool = True) -> Kit:
    """Read the kit that a manifest's descriptor points at.

    Artifacts of other tools that hold files with names are read too (see `artifacts`). Without `checks_config` a kit of
    mlkit's own is read without its config, which tells other tools what its kit document says too.

    Raises: UnsafeError where it is no kit, or has paths that must not be written; UsageError for an index of kits;
    IntegrityError where its documents disagree; NotFoundError where one of them is absent.
    """
    what = str(desc.digest)
    manifest = parse_manifest(read_blob(store, desc, limit=MANIFEST_LIMIT), media_type=desc.media_type, what=what)
    if not isinstance(manifest, Manifest):
        from mlkit.packing.artifacts import refusal

        raise refusal(manifest, what=what)
    document_layer = _document_layer(manifest, what) if manifest.is_kit else None
    needs_config = manifest.is_kit or manifest.config.media_type in IMAGE_CONFIGS
    if document_layer is not None and not checks_config:
        needs_config = False
    config = read_blob(store, manifest.config, limit=MANIFEST_LIMIT) if needs_config else b""
    if not manifest.is_kit:
        # Here, since every unpack reads a kit, and hardly any one of these (D15).
        from mlkit.packing.artifacts import read_artifact, refusal

        artifact = read_artifact(manifest, config, what=what)
        if artifact is None:
            raise refusal(manifest, what=what)
        kit = Kit(manifest, artifact.kitfile, artifact.kitfile_text, None, artifact.entries, artifact.layers)
    elif document_layer is None:
        reading = read_foreign(manifest, config, what=what)
        kit = Kit(manifest, reading.kitfile, reading.kitfile_text, None, reading.entries, reading.layers)
    else:
        raw = read_blob(store, document_layer, limit=DOCUMENT_LIMIT)
        document = parse_kit_document(raw, what=f"{what}: kit document")
        reading = _read_own(manifest, config if needs_config else None, document, document_layer, what)
        kit = Kit(
            manifest, reading.kitfile, document.kitfile, document, reading.entries, reading.layers, document_layer
        )
    _check_paths(kit, what)
    return kit


def _document_layer(manifest: Manifest, what: str) -> Descriptor | None:
    """The layer with the kit document. Raises: IntegrityError where annotation and layers disagree."""
    found = [layer for layer in manifest.layers if annotated_path(layer) == KIT_DOCUMENT_PATH]
    told = manifest.annotations.get(KIT)
    if told is None and not found:
        return None
    if len(found) != 1 or told is None or Digest.parse(told) != found[0].digest:
        raise IntegrityError(
            f"{what}: the kit document is {ascii(told)[:100]} by the annotation {KIT}, "
            f"but {', '.join(str(layer.digest) for layer in found[:3]) or 'none'} by the layers"
        )
    return found[0]


def _read_own(
    manifest: Manifest, config: bytes | None, document: KitDocument, document_layer: Descriptor, what: str
) -> Reading:
    content = [layer for layer in manifest.layers if layer is not document_layer]
    listed = [(layer.digest, layer.size) for layer in content]
    recorded = [(layer.digest, layer.size) for layer in document.layers]
    if listed != recorded:
        odd = next((one for one in (*listed, *recorded) if one not in recorded or one not in listed), None)
        raise IntegrityError(
            f"{what}: the kit document and the manifest list different layers"
            + ("" if odd is None else f", {odd[0]} of {odd[1]} bytes is in only one of them")
        )
    kitfile = _authors_kitfile(document, what)
    by_id = {entry.id: entry for entry in document.entries}
    diff_ids = {} if config is None else config_diff_ids(manifest, config, what=what)
    layers = []
    for desc, record in zip(content, document.layers, strict=True):
        where = f"{what}: layer {record.digest}"
        _check_record(desc, record, by_id.get(record.entry), where)
        if diff_ids.get(desc.digest, record.diff_id) != record.diff_id:
            raise IntegrityError(f"{where}: diffID {diff_ids[desc.digest]} in the config, {record.diff_id} in the kit")
        layers.append(
            KitLayer(
                desc=desc,
                kind=record.kind,
                compression=record.compression,
                cls=record.cls,
                entry=record.entry,
                path=record.files[0].path if record.kind == "raw" else by_id[record.entry].path,
                files=record.files,
                diff_id=record.diff_id,
            )
        )
    return Reading(kitfile, document.kitfile, document.entries, tuple(layers))


def _authors_kitfile(document: KitDocument, what: str) -> Kitfile:
    """Raises: IntegrityError where it is no Kitfile, or not the one whose entries the document lists."""
    try:
        kitfile = parse_kitfile(document.kitfile.encode("utf-8"), what=f"{what}: Kitfile")
    except UsageError as error:
        # Whoever reads a kit from elsewhere did not write this Kitfile.
        raise IntegrityError(error.message, hint=error.hint) from error
    told = [(entry.id, entry.cls, entry.name, entry.path, entry.version) for entry in entries(kitfile)]
    recorded = [(entry.id, entry.cls, entry.name, entry.path, entry.version) for entry in document.entries]
    if told != recorded:
        raise IntegrityError(f"{what}: the kit document lists other entries than its Kitfile has")
    return kitfile


def _check_record(desc: Descriptor, record: LayerRecord, entry: EntryRecord | None, where: str) -> None:
    """Raises: IntegrityError where a layer's record disagrees with its descriptor or its entry."""
    told = parse_layer_type(desc)
    if told is None or (told.kind, told.compression) != (record.kind, record.compression):
        raise IntegrityError(
            f"{where}: {record.kind} with compression {record.compression} by the kit document, "
            f"but its media type is {ascii(desc.media_type)[:100]}"
        )
    if entry is None or entry.cls != record.cls:
        raise IntegrityError(
            f"{where}: the kit document has no entry {ascii(record.entry)[:100]} of class {record.cls}"
        )
    if record.compression == "none" and record.diff_id != record.digest:
        raise IntegrityError(f"{where}: diffID {record.diff_id} of a layer without compression (expected its digest)")
    astray = next((file.path for file in record.files if not lies_in(file.path, entry.path)), None)
    if astray is not None:
        raise IntegrityError(f"{where}: {ascii(astray)[:200]} is not below the entry's path {ascii(entry.path)[:200]}")
    if record.kind == "tar":
        return
    if len(record.files) != 1:
        raise IntegrityError(f"{where}: {len(record.files)} files in a raw layer (expected 1)")
    file = record.files[0]
    if annotated_path(desc) not in (None, file.path):
        raise IntegrityError(
            f"{where}: holds {ascii(file.path)[:200]} by the kit document, "
            f"but {ascii(annotated_path(desc))[:200]} by its annotation"
        )
    if file.digest != record.diff_id or (record.compression == "none" and file.size != record.size):
        raise IntegrityError(f"{where}: its file {ascii(file.path)[:200]} has another digest or size than the layer")


def _check_paths(kit: Kit, what: str) -> None:
    """Raises: UnsafeError for a path that no kit may write to, and where two files would land in one place."""
    names = NameSet()
    try:
        for path in _known_paths(kit.layers):
            names.add_file(check_name(path))
        for layer in kit.layers:
            if layer.path != ".":
                check_name(layer.path)
        for entry in kit.entries:
            for directory in entry.directories:
                names.add_directory(check_name(directory))
    except UnsafeError as error:
        raise UnsafeError(f"{what}: {error.message}", hint=error.hint) from error


def _known_paths(layers: Iterable[KitLayer]) -> Iterable[str]:
    for layer in layers:
        if layer.files is not None:
            yield from (file.path for file in layer.files)
        elif layer.kind == "raw":
            yield layer.path
