"""Sigstore bundles, version 0.3, of the kind that is signed with a key and holds a DSSE envelope.

github.com/sigstore/protobuf-specs, sigstore_bundle.proto, in its JSON form. What was signed with a certificate of
Sigstore's service, and older versions, are recognised and refused by name. Entries of a transparency log may be there
and are not looked at: a key that was given needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError
from mlkit.spec.dsse import Envelope, envelope_json, envelope_of
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object, render_json
from mlkit.spec.media_types import SIGSTORE_BUNDLE

BUNDLE_LIMIT = MANIFEST_LIMIT
"""Bytes."""
_FAMILY = "application/vnd.dev.sigstore.bundle"
_CERTIFIED = ("certificate", "x509CertificateChain")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An envelope, and which key its signer says it was made with."""

    envelope: Envelope
    hint: str | None
    """base64 of the sha256 of the public key (SPKI, DER); anybody may have written it, and it never decides."""


def parse_bundle(raw: bytes, *, what: str) -> Bundle:
    """Read a bundle. Raises: IntegrityError for what is no bundle of this kind, saying which kind; LimitError."""
    value = parse_object(raw, what=what, limit=BUNDLE_LIMIT)
    kind = value.get("mediaType")
    if kind != SIGSTORE_BUNDLE:
        is_other = isinstance(kind, str) and kind.startswith(_FAMILY)
        told = "a Sigstore bundle of another version" if is_other else "not a Sigstore bundle"
        raise IntegrityError(f"{what}: {told}: {ascii(kind)[:100]} (expected {SIGSTORE_BUNDLE})")
    material = value.get("verificationMaterial")
    if not isinstance(material, dict):
        raise IntegrityError(f"{what}: verificationMaterial is missing")
    if any(name in material for name in _CERTIFIED):
        raise IntegrityError(f"{what}: signed with a certificate (keyless), and mlkit verifies keys only")
    if "messageSignature" in value:
        raise IntegrityError(f"{what}: signs a digest and no statement (messageSignature), which says nothing of kits")
    return Bundle(envelope_of(value.get("dsseEnvelope"), what=f"{what}: dsseEnvelope"), _hint(material, what))


def render_bundle(bundle: Bundle) -> bytes:
    """Canonical JSON."""
    key: dict[str, Any] = {"hint": bundle.hint} if bundle.hint else {}
    return render_json(
        {
            "mediaType": SIGSTORE_BUNDLE,
            # An empty list, not none: older verifiers look for the field.
            "verificationMaterial": {"publicKey": key, "tlogEntries": []},
            "dsseEnvelope": envelope_json(bundle.envelope),
        }
    )


def _hint(material: dict[str, Any], what: str) -> str | None:
    key = material.get("publicKey")
    if not isinstance(key, dict):
        raise IntegrityError(f"{what}: verificationMaterial has no publicKey")
    hint = key.get("hint")
    if hint is not None and not isinstance(hint, str):
        raise IntegrityError(f"{what}: the hint of publicKey is not text")
    return hint or None
