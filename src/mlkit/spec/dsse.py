"""DSSE envelopes: bytes, what kind of bytes, and signatures over both (github.com/secure-systems-lab/dsse, 1.0.2).

Nothing here checks a signature; `mlkit.trust` does, over what `pae` gives.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object, render_json

SIGNATURE_LIMIT = 64
"""Signatures in one envelope: nobody who signs writes more than one."""

_STANDARD = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*={0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature. `keyid` is a hint that anybody may have written, and never decides anything."""

    keyid: str | None
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: type and payload, each after its length, so that neither can flow into the other."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse_envelope(raw: bytes, *, what: str) -> Envelope:
    """Read the JSON form. Raises: IntegrityError, LimitError."""
    return envelope_of(parse_object(raw, what=what), what=what)


def envelope_of(value: object, *, what: str) -> Envelope:
    """Like `parse_envelope`, of JSON that is read already."""
    if not isinstance(value, dict):
        raise IntegrityError(f"{what}: expected an envelope, found {type(value).__name__}")
    payload_type = value.get("payloadType")
    if not isinstance(payload_type, str) or not payload_type:
        raise IntegrityError(f"{what}: payloadType is missing or not text")
    signatures = value.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise IntegrityError(f"{what}: no signatures")
    if len(signatures) > SIGNATURE_LIMIT:
        raise LimitError(f"{what}: {len(signatures)} signatures (at most {SIGNATURE_LIMIT})")
    return Envelope(
        payload_type,
        decode_base64(value.get("payload"), what=f"{what}: payload"),
        tuple(_signature(item, f"{what}: signatures[{number}]") for number, item in enumerate(signatures)),
    )


def render_envelope(envelope: Envelope) -> bytes:
    """Canonical JSON."""
    return render_json(envelope_json(envelope))


def envelope_json(envelope: Envelope) -> dict[str, Any]:
    """The JSON form, to stand in a larger document."""
    return {
        "payload": base64.b64encode(envelope.payload).decode("ascii"),
        "payloadType": envelope.payload_type,
        "signatures": [
            {"sig": base64.b64encode(one.sig).decode("ascii"), **({"keyid": one.keyid} if one.keyid else {})}
            for one in envelope.signatures
        ],
    }


def decode_base64(text: object, *, what: str) -> bytes:
    """Bytes from base64 in the standard or the URL-safe alphabet, as DSSE allows, padded, and one text for one value.

    Raises: IntegrityError for a mixture, white space, missing padding and stray bits.
    """
    if not isinstance(text, str) or len(text) > MANIFEST_LIMIT:
        raise IntegrityError(f"{what} is missing, too long or not text")
    if _STANDARD.fullmatch(text):
        standard = text
    elif _URL_SAFE.fullmatch(text):
        standard = text.translate(str.maketrans("-_", "+/"))
    else:
        raise IntegrityError(f"{what} is not base64")
    try:
        decoded = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError(f"{what} is not base64") from error
    if base64.b64encode(decoded).decode("ascii") != standard:
        raise IntegrityError(f"{what} is not base64 as it is written for these bytes")
    return decoded


def _signature(value: object, what: str) -> Signature:
    if not isinstance(value, dict):
        raise IntegrityError(f"{what}: expected an object, found {type(value).__name__}")
    keyid = value.get("keyid")
    if keyid is not None and not isinstance(keyid, str):
        raise IntegrityError(f"{what}: keyid is not text")
    sig = decode_base64(value.get("sig"), what=f"{what}: sig")
    if not sig:
        raise IntegrityError(f"{what}: sig is empty")
    return Signature(keyid or None, sig)
