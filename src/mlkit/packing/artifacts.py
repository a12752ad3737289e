"""Artifacts that no kit tool wrote: what they are, and those that can be read like a kit. Nothing here does I/O.

Three kinds have files with names, and are read: models of Docker (one file per layer), artifacts of `oras push` (layers
with titles), and container images that carry a model in `/models`, which KServe calls modelcars. All others are said to
be what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.packing.foreign import Part, Reading, clean_place, read_parts
from mlkit.packing.kit_layer import LayerType, annotated_path
from mlkit.packing.recognise import recognise
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.kit_document import Compression
from mlkit.spec.manifest import Index, Manifest
from mlkit.spec.media_types import (
    IMAGE_CONFIGS,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    KITOPS_INDEX_ARTIFACT,
    ORAS_CONTENT_DIGEST,
    ORAS_UNPACK,
    TITLE,
    Class,
)

ArtifactKind = Literal[
    "modelpack", "modelkit", "docker-model", "modelcar", "image", "artifact", "index", "chart", "signature"
]
"""What a manifest is, in one word."""

MODELCAR_FOLDER = "models"
"""Where a modelcar has its model (KServe, "Serving models with OCI images")."""

_DOCKER_CONFIG = re.compile(r"application/vnd\.docker\.ai\.model\.config\.v[0-9.]+\+json")
_DOCKER_LAYER = "application/vnd.docker.ai."
_CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_SIGNATURES = (
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.",
    "application/vnd.cncf.notary.signature",
)
_IN_MODELS = re.compile(r"(?:^|[\s:=\"'])/models(?:/|[\s\"']|$)")
_SHOWN_MANIFESTS = 5

# The layers of Docker's models (docker/model-spec, "Layers", and the types that its runner added since): class, name.
_DOCKER_FILES: dict[str, tuple[Class, str]] = {
    "gguf.v3": (Class.MODEL, "model.gguf"),
    "safetensors": (Class.MODEL, "model.safetensors"),
    "dduf": (Class.MODEL, "model.dduf"),
    "gguf.v3.lora": (Class.MODEL, "adapter.gguf"),
    "gguf.v3.mmproj": (Class.MODEL, "mmproj.gguf"),
    "mmproj": (Class.MODEL, "mmproj.gguf"),
    "chat.template.jinja": (Class.MODEL, "chat_template.jinja"),
    "model.file": (Class.MODEL, "file"),
    "license": (Class.DOCS, "LICENSE"),
}
_DOCKER_WEIGHTS = ("gguf.v3", "safetensors", "dduf")
_DOCKER_TARS = ("vllm.config.tar", "dir.tar")


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a manifest is."""

    kind: ArtifactKind
    title: str
    """With its article, for a sentence: `a container image`."""


def identify(manifest: Manifest | Index) -> Artifact:
    """What a manifest or an index is, as far as it tells without its config."""
    if isinstance(manifest, Index):
        of_kits = manifest.artifact_type == KITOPS_INDEX_ARTIFACT
        count = len(manifest.manifests)
        return Artifact("index", f"an index of {count} {'kit' if of_kits else 'manifest'}{'' if count == 1 else 's'}")
    config = manifest.config.media_type
    if manifest.is_kit:
        is_modelkit = manifest.artifact_type == KITOPS_ARTIFACT or config == KITOPS_CONFIG
        return Artifact("modelkit", "a ModelKit") if is_modelkit else Artifact("modelpack", "a ModelPack")
    if _DOCKER_CONFIG.fullmatch(config):
        return Artifact("docker-model", "a model of Docker")
    if manifest.artifact_type is not None and manifest.artifact_type.startswith(_SIGNATURES):
        return Artifact("signature", "a signature or attestation")
    if config in IMAGE_CONFIGS and not any(TITLE in layer.annotations for layer in manifest.layers):
        return Artifact("image", "a container image")
    if config == _CHART_CONFIG:
        return Artifact("chart", "a Helm chart")
    kind = manifest.artifact_type or config
    return Artifact("artifact", f"an OCI artifact of type {ascii(kind)[:100]}")


def read_artifact(manifest: Manifest, config: bytes, *, what: str) -> Reading | None:
    """What can be read like a kit; None where there are no files with names. `config` is that of a container image.

    Raises: IntegrityError for a malformed config; UnsafeError for paths that leave the kit.
    """
    kind = identify(manifest).kind
    if kind == "docker-model":
        files = list(_docker_parts(manifest, what))
        return read_parts(files, {}, what) if files else None
    if kind == "image":
        return _read_modelcar(manifest, config, what)
    if kind != "artifact":
        return None
    parts = [_titled_part(layer, what) for layer in manifest.layers if layer.annotations.get(TITLE)]
    told = {
        part.desc.digest: Digest.parse(part.desc.annotations[ORAS_CONTENT_DIGEST])
        for part in parts
        if part.type.kind == "tar" and ORAS_CONTENT_DIGEST in part.desc.annotations
    }
    return read_parts(parts, told, what) if parts else None


def refusal(manifest: Manifest | Index, *, what: str) -> UnsafeError | UsageError:
    """The error for a manifest that cannot be read as a kit, with what it is and what to do."""
    found = identify(manifest)
    if isinstance(manifest, Index) and manifest.artifact_type == KITOPS_INDEX_ARTIFACT:
        shown = [_variant(child) for child in manifest.manifests[:_SHOWN_MANIFESTS]]
        more = len(manifest.manifests) - len(shown)
        return UsageError(
            f"{what}: is {found.title}, and one kit is wanted"
            + (f": {', '.join(shown)}" if shown else "")
            + (f", and {more} more" if more > 0 else ""),
            hint="-l KEY=VALUE takes one by its labels, and repository@sha256:… by its digest",
        )
    return UnsafeError(
        f"{what}: is {found.title}, and no kit" + _why_not(manifest, found),
        hint="`mlkit inspect` shows what it holds",
    )


def _why_not(manifest: Manifest | Index, found: Artifact) -> str:
    if found.kind == "image":
        return f": nothing in it tells of /{MODELCAR_FOLDER}, where an image for KServe has its model"
    if found.kind in ("artifact", "docker-model") and isinstance(manifest, Manifest):
        return ": no layer of it has a name" if manifest.layers else ": it has no layers"
    return ""


def _variant(child: Descriptor) -> str:
    """A manifest of an index, with its labels."""
    labels = [f"{ascii(name)[1:-1][:60]}={ascii(text)[1:-1][:60]}" for name, text in sorted(child.annotations.items())]
    return str(child.digest) + (f" ({', '.join(labels[:_SHOWN_MANIFESTS])})" if labels else "")


def _docker_parts(manifest: Manifest, what: str) -> Iterator[Part]:
    """One part per layer, named as its annotation says, or by its type, numbered where there are several."""
    roles = [layer.media_type.removeprefix(_DOCKER_LAYER) for layer in manifest.layers]
    for number, (layer, role) in enumerate(zip(manifest.layers, roles, strict=True)):
        if role in _DOCKER_TARS:
            yield Part(layer, LayerType("modelpart", Class.MODEL, "tar", "none"), ".")
        elif role in _DOCKER_FILES:
            cls, name = _DOCKER_FILES[role]
            path = annotated_path(layer) or layer.annotations.get(TITLE)
            if path is None:
                path = _numbered(name, roles[: number + 1].count(role), roles.count(role), role)
            word = "weight" if role in _DOCKER_WEIGHTS else "modelpart"
            yield Part(layer, LayerType(word, cls, "raw", "none"), clean_place(path, layer, what=what))


def _numbered(name: str, number: int, count: int, role: str) -> str:
    if count == 1:
        return name
    stem, dot, suffix = name.partition(".")
    if role in _DOCKER_WEIGHTS:
        # As their authors name shards, and as what loads them looks for the others.
        return f"{stem}-{number:05}-of-{count:05}{dot}{suffix}"
    return name if number == 1 else f"{stem}-{number}{dot}{suffix}"


def _titled_part(layer: Descriptor, what: str) -> Part:
    path = clean_place(layer.annotations[TITLE], layer, what=what)
    cls = recognise(path, b"").cls
    role = "weight" if cls is Class.MODEL else "other"
    if layer.annotations.get(ORAS_UNPACK) == "true":
        return Part(layer, LayerType(role, cls, "tar", _compression(layer)), path)
    return Part(layer, LayerType(role, cls, "raw", "none"), path)


def _read_modelcar(manifest: Manifest, config: bytes, what: str) -> Reading | None:
    value = parse_object(config, what=f"{what}: config")
    if not _tells_of_models(manifest, value):
        return None
    rootfs = value.get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(listed, list) or len(listed) != len(manifest.layers):
        raise IntegrityError(f"{what}: the config does not list the diffIDs of the {len(manifest.layers)} layers")
    diff_ids = {layer.digest: Digest.parse(told) for layer, told in zip(manifest.layers, listed, strict=True)}
    parts = [
        Part(layer, LayerType("weight", Class.MODEL, "tar", _compression(layer)), MODELCAR_FOLDER, MODELCAR_FOLDER)
        for layer in manifest.layers
    ]
    return read_parts(parts, diff_ids, what) if parts else None


def _tells_of_models(manifest: Manifest, config: Mapping[str, Any]) -> bool:
    """Whether the steps that made the image, or what its layers are annotated with, name the folder."""
    history = config.get("history")
    steps = [step.get("created_by") for step in history if isinstance(step, dict)] if isinstance(history, list) else []
    annotations = [text for layer in manifest.layers for text in layer.annotations.values()]
    return any(isinstance(text, str) and _IN_MODELS.search(text) for text in (*steps, *annotations))


def _compression(layer: Descriptor) -> Compression:
    if layer.media_type.endswith(("+gzip", ".gzip")):
        return "gzip"
    return "zstd" if layer.media_type.endswith(("+zstd", ".zstd")) else "none"
