"""Who signs: a protocol, so that keys in hardware and in services can, and what is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlkit.spec.bundle import Bundle
from mlkit.spec.dsse import Envelope, Signature, pae
from mlkit.spec.media_types import IN_TOTO
from mlkit.spec.statement import Statement, render_statement
from mlkit.trust.keys import PublicKey


class Signer(Protocol):
    """Somebody's key, wherever it is kept."""

    @property
    def key_id(self) -> str:
        """base64 of the sha256 of the public key (SPKI, DER)."""

    def sign(self, message: bytes) -> bytes:
        """A signature of `message` itself, not of a digest: DER of ECDSA with SHA-256, or Ed25519."""


def sign_statement(statement: Statement, signer: Signer) -> Bundle:
    """A bundle that holds the statement, signed."""
    payload = render_statement(statement)
    # The hint stands in the bundle alone: cosign takes a keyid in the envelope for that of another key.
    signature = Signature(None, signer.sign(pae(IN_TOTO, payload)))
    return Bundle(Envelope(IN_TOTO, payload, (signature,)), signer.key_id)


def signers_of(envelope: Envelope, keys: Mapping[str, PublicKey]) -> tuple[str, ...]:
    """The names of those keys of which a signature holds, each once, in the order of `keys`.

    One that holds is enough, whatever the others are. What envelope and bundle hint at is not asked.
    """
    message = pae(envelope.payload_type, envelope.payload)
    return tuple(
        name for name, key in keys.items() if any(key.is_signature(one.sig, message) for one in envelope.signatures)
    )
