"""Manifests and indexes: parsed values that keep the bytes they were parsed from.

The digest of a manifest is the digest of the bytes received, so nothing here is ever serialised again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.descriptor import Descriptor, parse_annotations
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.media_types import (
    INDEX_TYPES,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    MANIFEST_TYPES,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    MODELPACK_LEGACY_ARTIFACT,
    MODELPACK_LEGACY_CONFIG,
    OCI_MANIFEST,
)

LAYER_LIMIT = 4096
"""Layers in one manifest, and manifests in one index that comes from a registry."""

KIT_ARTIFACTS = frozenset({MODELPACK_ARTIFACT, MODELPACK_LEGACY_ARTIFACT, KITOPS_ARTIFACT})
"""The artifact types of kits."""
_KIT_CONFIGS = frozenset({MODELPACK_CONFIG, MODELPACK_LEGACY_CONFIG, KITOPS_CONFIG})


@dataclass(frozen=True, slots=True)
class Manifest:
    """An OCI image manifest (or Docker's version 2, schema 2)."""

    raw: bytes
    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str | None
    subject: Descriptor | None
    annotations: Mapping[str, str]

    @property
    def is_kit(self) -> bool:
        """Whether artifact type or config media type says ModelPack, by its old name too, or ModelKit."""
        return self.artifact_type in KIT_ARTIFACTS or self.config.media_type in _KIT_CONFIGS

    @property
    def size(self) -> int:
        """Bytes of manifest, config and layers together, content that occurs twice counted once."""
        blobs = {blob.digest: blob.size for blob in (self.config, *self.layers)}
        return len(self.raw) + sum(blobs.values())


@dataclass(frozen=True, slots=True)
class Index:
    """An OCI image index (or Docker's manifest list)."""

    raw: bytes
    descriptor: Descriptor
    manifests: tuple[Descriptor, ...]
    artifact_type: str | None
    subject: Descriptor | None
    annotations: Mapping[str, str]


def parse_manifest(raw: bytes, *, media_type: str | None = None, what: str = "manifest") -> Manifest | Index:
    """Read a manifest or an index; `media_type` is what the descriptor or the Content-Type said.

    Raises: IntegrityError for malformed, ambiguous (CVE-2021-41190) and mistyped documents; LimitError for too many
    layers.
    """
    value = parse_object(raw, what=what)
    kind = _media_type(value, media_type, what)
    if kind in MANIFEST_TYPES:
        if "manifests" in value:
            raise IntegrityError(f"{what}: has layers and manifests at once")
        return _parse_image_manifest(raw, value, kind, what)
    if "layers" in value or "config" in value:
        raise IntegrityError(f"{what}: has layers and manifests at once")
    manifests = _descriptors(value, "manifests", what)
    _check_sizes(manifests, what)
    return Index(
        raw=raw,
        descriptor=_descriptor(raw, value, kind),
        manifests=manifests,
        artifact_type=_optional_text(value, "artifactType", what),
        subject=_subject(value, what),
        annotations=parse_annotations(value.get("annotations"), what=what),
    )


def render_manifest(
    *,
    config: Descriptor,
    layers: tuple[Descriptor, ...],
    artifact_type: str | None = None,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
) -> Manifest:
    """A new OCI manifest; the same arguments give the same bytes."""
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.render(),
        "layers": [layer.render() for layer in layers],
    }
    if artifact_type is not None:
        value["artifactType"] = artifact_type
    if annotations:
        value["annotations"] = dict(annotations)
    if subject is not None:
        value["subject"] = subject.render()
    raw = render_json(value)
    return Manifest(
        raw, _descriptor(raw, value, OCI_MANIFEST), config, layers, artifact_type, subject, annotations or {}
    )


def _parse_image_manifest(raw: bytes, value: dict[str, Any], kind: str, what: str) -> Manifest:
    layers = _descriptors(value, "layers", what)
    config = Descriptor.parse(value.get("config"), what=f"{what}: config")
    _check_sizes((config, *layers), what)
    return Manifest(
        raw=raw,
        descriptor=_descriptor(raw, value, kind),
        config=config,
        layers=layers,
        artifact_type=_optional_text(value, "artifactType", what),
        subject=_subject(value, what),
        annotations=parse_annotations(value.get("annotations"), what=what),
    )


def _check_sizes(blobs: tuple[Descriptor, ...], what: str) -> None:
    sizes: dict[Digest, int] = {}
    for blob in blobs:
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise IntegrityError(f"{what}: {blob.digest} is given two sizes, {sizes[blob.digest]} and {blob.size}")


def _media_type(value: dict[str, Any], told: str | None, what: str) -> str:
    if value.get("schemaVersion") != 2 or type(value.get("schemaVersion")) is not int:
        raise IntegrityError(
            f"{what}: schemaVersion {ascii(value.get('schemaVersion'))[:40]} is not supported (expected 2)"
        )
    own = _optional_text(value, "mediaType", what)
    told = told.partition(";")[0].strip().lower() if told else None
    if own is not None and told is not None and own != told:
        raise IntegrityError(f"{what}: says it is {ascii(own)[:100]}, but was announced as {ascii(told)[:100]}")
    kind = own or told
    if kind is None and "config" in value and "manifests" not in value:
        kind = OCI_MANIFEST
    if kind is None or kind not in MANIFEST_TYPES | INDEX_TYPES:
        raise IntegrityError(f"{what}: media type {ascii(kind)[:100]} is neither a manifest nor an index")
    return kind


def _descriptor(raw: bytes, value: dict[str, Any], kind: str) -> Descriptor:
    described = Descriptor.of(raw, kind)
    artifact_type = value.get("artifactType")
    return described if artifact_type is None else Descriptor(kind, described.digest, len(raw), {}, artifact_type)


def _descriptors(value: dict[str, Any], field: str, what: str) -> tuple[Descriptor, ...]:
    items = value.get(field)
    # What Go writes for a list of nothing: `kit pack` does, of a Kitfile without entries.
    if items is None and field in value:
        return ()
    if not isinstance(items, list):
        raise IntegrityError(f"{what}: {field} is not a list")
    if len(items) > LAYER_LIMIT:
        raise LimitError(f"{what}: {len(items)} {field} is more than the limit of {LAYER_LIMIT}")
    return tuple(Descriptor.parse(item, what=f"{what}: {field}[{number}]") for number, item in enumerate(items))


def _subject(value: dict[str, Any], what: str) -> Descriptor | None:
    subject = value.get("subject")
    return None if subject is None else Descriptor.parse(subject, what=f"{what}: subject")


def _optional_text(value: dict[str, Any], field: str, what: str) -> str | None:
    text = value.get(field)
    if text is None or isinstance(text, str):
        return text or None
    raise IntegrityError(f"{what}: {field} is not text")
