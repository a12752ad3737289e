"""Kits that other tools wrote: entries and layers from what their manifests tell. Nothing here does I/O.

Three forms: KitOps with digests in its config, KitOps before 0.5 without (layers follow the order of the entries), and
ModelPack, with the Kitfile in an annotation (`kit`) or without any (`modctl` and others).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.packing.kit_layer import KitLayer, LayerType, annotated_path, parse_layer_type
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.kit_document import EntryRecord, FileRecord
from mlkit.spec.kitfile import Entry, Kitfile, clean_path, entries, parse_kitfile_json, render_kitfile
from mlkit.spec.manifest import Manifest
from mlkit.spec.media_types import (
    FILE_METADATA,
    KITOPS_CONFIG,
    KITOPS_KITFILE,
    LEGACY_FILE_METADATA,
    MODELPACK_CONFIG,
    MODELPACK_LEGACY_CONFIG,
    TITLE,
    Class,
)

_METADATA_LIMIT = 64 * 1024  # bytes of one annotation: a handful of short fields
_SECTIONS = ("code", "datasets", "docs", "prompts", "mcpServers")


@dataclass(frozen=True, slots=True)
class Part:
    """A layer, what it is, and where its files go."""

    desc: Descriptor
    type: LayerType
    path: str
    """A raw layer's file, a tar layer's entry."""
    only: str | None = None
    """The one directory of a tar layer that counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the documents of a kit amount to."""

    kitfile: Kitfile
    kitfile_text: str
    entries: tuple[EntryRecord, ...]
    layers: tuple[KitLayer, ...]


def read_foreign(manifest: Manifest, config: bytes, *, what: str) -> Reading:
    """The entries and layers of a kit without a kit document.

    Raises: IntegrityError where Kitfile and layers disagree; UnsafeError for paths that leave the kit.
    """
    layers = [_Layer(desc, told) for desc in manifest.layers if (told := parse_layer_type(desc)) is not None]
    if manifest.layers and not layers:
        first = ascii(manifest.layers[0].media_type)[1:-1][:100]
        raise UnsafeError(
            f"{what}: none of its layers is of a type that is known here (the first is {first})",
            hint="`mlkit inspect` shows what it is",
        )
    diff_ids = config_diff_ids(manifest, config, what=what)
    if manifest.config.media_type == KITOPS_CONFIG:
        raw: bytes | None = config
    else:
        annotation = manifest.annotations.get(KITOPS_KITFILE)
        raw = None if annotation is None else annotation.encode("utf-8")
    if raw is None:
        return read_parts([Part(layer.desc, layer.type, _path(layer.desc, what)) for layer in layers], diff_ids, what)
    kitfile = parse_kitfile_json(raw, what=f"{what}: Kitfile")
    records = tuple(_record(entry) for entry in entries(kitfile))
    digests = dict(_told_digests(parse_object(raw, what=f"{what}: Kitfile"), what))
    if digests:
        matched = _match_by_digest(records, layers, digests, what)
    elif raw is config:
        matched = _match_by_order(records, layers, what)
    else:
        matched = _match_by_path(records, layers, what)
    # Before 0.5 names in a tar are relative to the folder that the entry lies in.
    is_old = not digests and raw is config
    roots = {record.id: posixpath.dirname(record.path) or "." for record in records} if is_old else {}
    return Reading(
        kitfile,
        render_kitfile(kitfile),
        records,
        tuple(
            _kit_layer(layer, record, record.path, diff_ids, root=roots.get(record.id, "."))
            for record, layer in matched
        ),
    )


def config_diff_ids(manifest: Manifest, config: bytes, *, what: str) -> dict[Digest, Digest]:
    """The digest of each layer's uncompressed bytes, by layer digest, as far as the config tells it.

    Raises: IntegrityError where the config is malformed, or tells of other layers than the manifest.
    """
    if manifest.config.media_type == KITOPS_CONFIG:
        value = parse_object(config, what=f"{what}: config")
        listed = {layer.digest for layer in manifest.layers}
        for entry_id, told in _told_digests(value, what):
            if told.digest not in listed:
                raise IntegrityError(f"{what}: {entry_id} is layer {told.digest}, which the manifest does not list")
        return {told.digest: told.diff_id for _, told in _told_digests(value, what) if told.diff_id is not None}
    if manifest.config.media_type not in (MODELPACK_CONFIG, MODELPACK_LEGACY_CONFIG):
        return {}
    value = parse_object(config, what=f"{what}: config")
    modelfs = value.get("modelfs")
    diff_ids = modelfs.get("diffIds", modelfs.get("diff_ids")) if isinstance(modelfs, dict) else None
    if diff_ids is None:
        return {}
    if not isinstance(diff_ids, list) or len(diff_ids) != len(manifest.layers):
        count = len(diff_ids) if isinstance(diff_ids, list) else "no list of"
        raise IntegrityError(f"{what}: the config has {count} diffIds for {len(manifest.layers)} layers")
    return {layer.digest: Digest.parse(diff_id) for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)}


@dataclass(frozen=True, slots=True)
class _Layer:
    desc: Descriptor
    type: LayerType


@dataclass(frozen=True, slots=True)
class _Told:
    """What KitOps adds to an entry when it packs it."""

    digest: Digest
    diff_id: Digest | None


def _told_digests(value: Mapping[str, Any], what: str) -> Iterator[tuple[str, _Told]]:
    """Entry ids with the layer that the config gives them; malformed neighbours are left to the Kitfile's parser."""
    for entry_id, entry in _json_entries(value):
        if isinstance(entry, dict) and entry.get("digest"):
            diff_id = entry.get("diffId")
            try:
                yield entry_id, _Told(Digest.parse(entry["digest"]), Digest.parse(diff_id) if diff_id else None)
            except IntegrityError as error:
                raise IntegrityError(f"{what}: {entry_id}: {error.message}") from error


def _json_entries(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    model = value.get("model")
    if isinstance(model, dict):
        yield "model", model
        parts = model.get("parts")
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            yield f"model.parts[{number}]", part
    for section in _SECTIONS:
        found = value.get(section)
        for number, entry in enumerate(found if isinstance(found, list) else ()):
            yield f"{section}[{number}]", entry


def _match_by_digest(
    records: tuple[EntryRecord, ...], layers: list[_Layer], told: Mapping[str, _Told], what: str
) -> list[tuple[EntryRecord, _Layer]]:
    waiting: dict[Digest, list[_Layer]] = {}
    for layer in layers:
        waiting.setdefault(layer.desc.digest, []).append(layer)
    used: set[Digest] = set()
    matched = []
    for record in records:
        found = told.get(record.id)
        candidates = waiting.get(found.digest) if found is not None else None
        if not candidates:
            raise IntegrityError(f"{what}: the entry {record.id} at {ascii(record.path)[:200]} has no layer")
        # Two entries with the same bytes may share one layer, or have one each, in an order that differs.
        own = next((one for one in candidates if _is_annotated(one, record)), candidates[0])
        if len(candidates) > 1:
            candidates.remove(own)
        layer = own
        used.add(layer.desc.digest)
        _check_annotation(record, layer, what)
        matched.append((record, layer))
    extra = next((layer for layer in layers if layer.desc.digest not in used), None)
    if extra is not None:
        raise IntegrityError(f"{what}: layer {extra.desc.digest} belongs to no entry of the Kitfile")
    return matched


def _match_by_path(
    records: tuple[EntryRecord, ...], layers: list[_Layer], what: str
) -> list[tuple[EntryRecord, _Layer]]:
    by_path = {record.path: record for record in records}
    matched = []
    for layer in layers:
        record = by_path.pop(_path(layer.desc, what), None)
        if record is None:
            raise IntegrityError(f"{what}: layer {layer.desc.digest} belongs to no entry of the Kitfile")
        matched.append((record, layer))
    if by_path:
        left = next(iter(by_path.values()))
        raise IntegrityError(f"{what}: the entry {left.id} at {ascii(left.path)[:200]} has no layer")
    return matched


def _match_by_order(
    records: tuple[EntryRecord, ...], layers: list[_Layer], what: str
) -> list[tuple[EntryRecord, _Layer]]:
    """KitOps before 0.5: the n-th layer of a type is the n-th entry of its section."""
    matched: list[tuple[EntryRecord, _Layer]] = []
    for role, belongs in (
        ("model", lambda record: record.id == "model"),
        ("modelpart", lambda record: record.id.startswith("model.parts[")),
        ("dataset", lambda record: record.cls is Class.DATASETS),
        ("code", lambda record: record.cls is Class.CODE),
        ("docs", lambda record: record.cls is Class.DOCS),
    ):
        of_role = [layer for layer in layers if layer.type.role == role]
        of_section = [record for record in records if belongs(record)]
        if len(of_role) != len(of_section):
            raise IntegrityError(
                f"{what}: {len(of_role)} layers of type {role} for {len(of_section)} such entries in the Kitfile"
            )
        matched.extend(zip(of_section, of_role, strict=True))
    return matched


def _is_annotated(layer: _Layer, record: EntryRecord) -> bool:
    """Whether its annotation names the entry's path, as KitOps writes it."""
    path = annotated_path(layer.desc)
    return path is not None and posixpath.normpath(path) == record.path


def _check_annotation(record: EntryRecord, layer: _Layer, what: str) -> None:
    path = annotated_path(layer.desc)
    if path is not None and _path(layer.desc, what) != record.path:
        raise IntegrityError(
            f"{what}: layer {layer.desc.digest} is {ascii(record.path)[:200]} by the Kitfile, "
            f"but {ascii(path)[:200]} by its annotation"
        )


def clean_place(path: str, desc: Descriptor, *, what: str) -> str:
    """The clean form of a path that comes with a layer. Raises: UnsafeError for one that leaves the kit."""
    try:
        return clean_path(path)
    except UsageError as error:
        raise UnsafeError(f"{what}: layer {desc.digest}: {error.message}") from error


def read_parts(parts: Sequence[Part], diff_ids: Mapping[Digest, Digest], what: str) -> Reading:
    """An entry for each path: the first weights are the model, all other weights and their configs its parts."""
    value: dict[str, Any] = {"manifestVersion": "1.0.0"}
    records: dict[str, EntryRecord] = {}
    main = next((part.path for part in parts if part.type.role in ("weight", "model")), None)
    for part in parts:
        if part.path not in records:
            place = _place(value, part, is_main=part.path == main)
            records[part.path] = EntryRecord(place, part.type.cls, None, part.path, None, None)
    kitfile = parse_kitfile_json(render_json(value), what=f"{what}: Kitfile")
    order = list(Class)
    return Reading(
        kitfile,
        render_kitfile(kitfile),
        tuple(sorted(records.values(), key=lambda record: order.index(record.cls))),
        tuple(_kit_layer(part, records[part.path], part.path, diff_ids, only=part.only) for part in parts),
    )


def _place(value: dict[str, Any], part: Part, *, is_main: bool) -> str:
    """Enter a part into the JSON of a Kitfile, and give the id of its entry."""
    if is_main:
        value.setdefault("model", {})["path"] = part.path
        return "model"
    if part.type.cls is Class.MODEL:
        items = value.setdefault("model", {}).setdefault("parts", [])
        items.append({"path": part.path})
        return f"model.parts[{len(items) - 1}]"
    section = "mcpServers" if part.type.cls is Class.MCPSERVERS else str(part.type.cls)
    items = value.setdefault(section, [])
    items.append({"path": part.path})
    return f"{section}[{len(items) - 1}]"


def _kit_layer(
    layer: _Layer | Part,
    record: EntryRecord,
    path: str,
    diff_ids: Mapping[Digest, Digest],
    *,
    root: str = ".",
    only: str | None = None,
) -> KitLayer:
    told = layer.type
    files = None
    diff_id = diff_ids.get(layer.desc.digest)
    same = diff_id is None or diff_id.algorithm != layer.desc.digest.algorithm or diff_id == layer.desc.digest
    if told.compression == "none" and not same:
        raise IntegrityError(f"{layer.desc.digest}: diffID {diff_id} of a layer that is not compressed")
    mode = _mode(layer.desc) if told.kind == "raw" else 0o644
    if told.kind == "raw" and told.compression == "none":
        files = (FileRecord(path, layer.desc.size, mode, layer.desc.digest, 0),)
    return KitLayer(
        desc=layer.desc,
        kind=told.kind,
        compression=told.compression,
        cls=record.cls,
        entry=record.id,
        path=path,
        files=files,
        diff_id=diff_id,
        root=root,
        mode=mode,
        only=only,
    )


def _path(desc: Descriptor, what: str) -> str:
    """The clean path of a layer. Raises: UnsafeError for one that leaves the kit."""
    path = annotated_path(desc) or desc.annotations.get(TITLE)
    if path is None:
        raise IntegrityError(f"{what}: layer {desc.digest} has no annotation that tells its path")
    return clean_place(path, desc, what=what)


def _mode(desc: Descriptor) -> int:
    """0o755 where the file's metadata says that somebody may execute it."""
    name = FILE_METADATA if FILE_METADATA in desc.annotations else LEGACY_FILE_METADATA
    text = desc.annotations.get(name)
    if text is None or len(text) > _METADATA_LIMIT:
        return 0o644
    mode = parse_object(text.encode("utf-8"), what=f"{desc.digest}: {name}").get("mode")
    return 0o755 if type(mode) is int and mode & 0o111 else 0o644


def _record(entry: Entry) -> EntryRecord:
    return EntryRecord(entry.id, entry.cls, entry.name, entry.path, entry.version, entry.description)
