"""The forms in which cosign signed before bundles: simple signing under the tag `sha256-HEX.sig`, and others like it.

Red Hat's "atomic container signature" with cosign's type; one layer for each signature, which is an annotation of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

PAYLOAD_LIMIT = 256 * 1024
"""Bytes; the payload of cosign has three hundred."""
TYPE = "cosign container image signature"


@dataclass(frozen=True, slots=True)
class SimplePayload:
    """What is signed: the digest of a manifest, and what it was called."""

    reference: str
    """For people; what is meant is what the digest names."""
    digest: Digest
    optional: Mapping[str, Any] = field(default_factory=dict, hash=False)


def signature_tag(digest: Digest) -> str:
    """The tag under which the signatures of a manifest are."""
    return f"{digest.algorithm}-{digest.hex}.sig"


def attestation_tag(digest: Digest) -> str:
    """The tag under which the attestations of a manifest are, each an envelope."""
    return f"{digest.algorithm}-{digest.hex}.att"


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """The tags under which signatures and attestations are that refer to a manifest by these names alone."""
    return signature_tag(digest), attestation_tag(digest)


def parse_simple_payload(raw: bytes, *, what: str) -> SimplePayload:
    """Read the signed document. Raises: IntegrityError."""
    value = parse_object(raw, what=what, limit=PAYLOAD_LIMIT)
    critical = value.get("critical")
    if not isinstance(critical, dict) or critical.get("type") != TYPE:
        raise IntegrityError(f"{what}: not a signature of a container image as cosign makes them")
    image, identity, optional = critical.get("image"), critical.get("identity"), value.get("optional")
    if not isinstance(image, dict) or not isinstance(identity, dict):
        raise IntegrityError(f"{what}: image or identity is missing")
    reference = identity.get("docker-reference", "")
    if not isinstance(reference, str) or not isinstance(optional, dict | None):
        raise IntegrityError(f"{what}: docker-reference is not text, or optional is no object")
    return SimplePayload(reference, Digest.parse(image.get("docker-manifest-digest")), optional or {})


def render_simple_payload(payload: SimplePayload) -> bytes:
    """Canonical JSON; cosign reads it in any order."""
    return render_json(
        {
            "critical": {
                "identity": {"docker-reference": payload.reference},
                "image": {"docker-manifest-digest": str(payload.digest)},
                "type": TYPE,
            },
            "optional": dict(payload.optional) or None,
        }
    )
