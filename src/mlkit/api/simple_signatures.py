"""Signing in cosign's older form, which policy engines of before bundles still ask for: `--legacy-sig`."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from mlkit.api.session import Located, Session
from mlkit.content.graph import document
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.errors import ConflictError, IntegrityError, UsageError
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import CREATED, SIMPLE_SIGNATURE, SIMPLE_SIGNING
from mlkit.spec.simple_signing import SimplePayload, render_simple_payload, signature_tag
from mlkit.trust.keys import PrivateKey
from mlkit.trust.signer import Signer

_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"  # what cosign gives it
_RACES = 5


def attach_simple(session: Session, located: Located, *, signer: Signer, created: str) -> Descriptor:
    """Sign a manifest under the tag `sha256-HEX.sig`, beside the signatures that are there; gives what is there then.

    Raises: UsageError for a key that this form does not have; ConflictError where others keep writing the same tag;
    IntegrityError where something else is under it.
    """
    if isinstance(signer, PrivateKey) and signer.public.type != "ecdsa-p256":
        raise UsageError("the older form of signatures is made with ECDSA P-256 only", hint="leave out --legacy-sig")
    payload = render_simple_payload(
        SimplePayload(located.reference.name, located.desc.digest, {CREATED: created, "creator": "mlkit"})
    )
    signature = base64.b64encode(signer.sign(payload)).decode("ascii")
    layer = Descriptor.of(payload, SIMPLE_SIGNING, {SIMPLE_SIGNATURE: signature})
    place = _place(session, located)
    place.store.push(layer, BytesContent(payload))
    return add_layers(place, (layer,))


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a store, under which there are signatures or will be."""

    store: Layout | RegistryStore
    name: str


def add_layers(place: Place, layers: tuple[Descriptor, ...]) -> Descriptor:
    """Let the manifest under a name list these layers too, whose blobs are there; gives its descriptor.

    Raises: ConflictError where others keep writing it; IntegrityError where it is no manifest of signatures.
    """
    for _ in range(_RACES):
        before = place.store.find(place.name)
        known = _layers(place, before) if before is not None else ()
        added = tuple(layer for layer in layers if _key(layer) not in set(map(_key, known)))
        if before is not None and not added:
            return before
        manifest = _push(place, (*known, *added))
        if place.store.swap(manifest.descriptor, place.name, expected=before.digest if before else None):
            return manifest.descriptor
    raise ConflictError(f"{place.name}: others keep writing these signatures", hint="try again when they have finished")


def _push(place: Place, layers: tuple[Descriptor, ...]) -> Manifest:
    value: dict[str, Any] = {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
    }
    raw = render_json(value)
    config = Descriptor.of(raw, _IMAGE_CONFIG)
    place.store.push(config, BytesContent(raw))
    manifest = render_manifest(config=config, layers=layers)
    place.store.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest


def _layers(place: Place, desc: Descriptor) -> tuple[Descriptor, ...]:
    found = document(place.store, desc)
    if not isinstance(found, Manifest):
        raise IntegrityError(f"{place.name}: an index, where signatures are expected")
    return found.layers


def _key(layer: Descriptor) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Two signatures of one payload differ in their annotations alone."""
    return str(layer.digest), tuple(sorted(layer.annotations.items()))


def _place(session: Session, located: Located) -> Place:
    tag = signature_tag(located.desc.digest)
    if located.source == "local":
        return Place(session.layout, f"{located.reference.name}:{tag}")
    return Place(session.registry(located.reference), tag)
