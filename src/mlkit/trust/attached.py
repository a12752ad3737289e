"""What is attached to a kit, read: bundles, and the older forms of cosign, all as statements with their signatures.

Every document is parsed once, and what was signed are the bytes that were parsed. Nothing here believes anything:
`Attached.signers` says whose signatures hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.bundle import BUNDLE_LIMIT, parse_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import Envelope, decode_base64, pae, parse_envelope
from mlkit.spec.limits import DEFAULT_LIST_LIMITS, raised_by
from mlkit.spec.manifest import Index, Manifest
from mlkit.spec.media_types import (
    CREATED,
    DSSE_ENVELOPE,
    IN_TOTO,
    SIGSTORE_BUNDLE,
    SIMPLE_SIGNATURE,
    SIMPLE_SIGNING,
)
from mlkit.spec.simple_signing import PAYLOAD_LIMIT, parse_simple_payload
from mlkit.spec.statement import COSIGN_SIGN, Statement, Subject, parse_statement
from mlkit.trust.keys import PublicKey

Form = Literal["bundle", "envelope", "simple-signing"]


@dataclass(frozen=True, slots=True)
class Attached:
    """A statement as it was found, with signatures that nobody has looked at yet."""

    digest: Digest
    """Of the manifest that it was found in."""
    form: Form
    statement: Statement
    key_id: str | None
    """What it says of its key: a hint, that anybody may have written."""
    message: bytes = field(repr=False)
    """What is signed."""
    signatures: tuple[bytes, ...] = field(repr=False)

    @property
    def created(self) -> str | None:
        """When it was made, as its signed part says; text from outside."""
        return next((one.annotations[CREATED] for one in self.statement.subjects if CREATED in one.annotations), None)

    def signers(self, keys: Mapping[str, PublicKey]) -> tuple[str, ...]:
        """The names of those keys of which a signature holds, each once, in the order of `keys`.

        One that holds is enough, whatever the others are. Simple signing is ECDSA's alone.
        """
        return tuple(
            name
            for name, key in keys.items()
            if (self.form != "simple-signing" or key.type == "ecdsa-p256")
            and any(key.is_signature(signature, self.message) for signature in self.signatures)
        )


def is_bundle(found: Manifest | Index) -> bool:
    """Whether a referrer is a Sigstore bundle by what its own manifest says."""
    return isinstance(found, Manifest) and (
        found.artifact_type == SIGSTORE_BUNDLE or any(layer.media_type == SIGSTORE_BUNDLE for layer in found.layers)
    )


def read_bundle(store: ReadOnlyStorage, found: Manifest, subject: Digest) -> Attached:
    """The statement of a referrer that is a bundle; it names `subject`.

    Raises: IntegrityError, LimitError, NotFoundError, and then there is no statement.
    """
    what = f"the bundle {found.descriptor.digest}"
    if len(found.layers) != 1 or found.layers[0].media_type != SIGSTORE_BUNDLE:
        raise IntegrityError(f"{what}: has other layers than the one bundle")
    bundle = parse_bundle(read_blob(store, found.layers[0], limit=BUNDLE_LIMIT), what=what)
    return _of_envelope(bundle.envelope, found.descriptor.digest, "bundle", subject, key_id=bundle.hint, what=what)


def older_layers(found: Manifest, *, what: str, limit: int = DEFAULT_LIST_LIMITS.statements) -> tuple[Descriptor, ...]:
    """The layers of cosign's older forms in what is under one of its tags. Raises: LimitError."""
    layers = tuple(layer for layer in found.layers if layer.media_type in (SIMPLE_SIGNING, DSSE_ENVELOPE))
    if len(layers) > limit:
        raise LimitError(f"{what}: {len(layers)} signatures (at most {limit})", hint=raised_by("statements"))
    return layers


def read_older(store: ReadOnlyStorage, manifest: Digest, layer: Descriptor, subject: Digest) -> Attached:
    """The statement of one such layer; it names `subject`.

    Raises: IntegrityError, LimitError, NotFoundError, and then there is no statement.
    """
    if layer.media_type == SIMPLE_SIGNING:
        return _read_simple(store, manifest, layer, subject)
    what = f"the envelope {layer.digest}"
    envelope = parse_envelope(read_blob(store, layer, limit=BUNDLE_LIMIT), what=what)
    hint = next((one.keyid for one in envelope.signatures), None)
    return _of_envelope(envelope, manifest, "envelope", subject, key_id=hint, what=what)


def _of_envelope(
    envelope: Envelope, manifest: Digest, form: Form, subject: Digest, *, key_id: str | None, what: str
) -> Attached:
    if envelope.payload_type != IN_TOTO:
        raise IntegrityError(f"{what}: holds {ascii(envelope.payload_type)[:100]} (expected {IN_TOTO})")
    statement = parse_statement(envelope.payload, what=what)
    if not statement.names(subject):
        raise IntegrityError(f"{what}: is about other content than {subject}")
    return Attached(
        digest=manifest,
        form=form,
        statement=statement,
        key_id=key_id,
        message=pae(envelope.payload_type, envelope.payload),
        signatures=tuple(one.sig for one in envelope.signatures),
    )


def _read_simple(store: ReadOnlyStorage, manifest: Digest, layer: Descriptor, subject: Digest) -> Attached:
    what = f"the signature {layer.digest}"
    signature = decode_base64(layer.annotations.get(SIMPLE_SIGNATURE), what=f"{what}: {SIMPLE_SIGNATURE}")
    raw = read_blob(store, layer, limit=PAYLOAD_LIMIT)
    payload = parse_simple_payload(raw, what=what)
    if payload.digest != subject:
        raise IntegrityError(f"{what}: is about other content than {subject}")
    annotations = {key: text for key, text in payload.optional.items() if isinstance(text, str)}
    statement = Statement((Subject(payload.reference, payload.digest, annotations),), COSIGN_SIGN, {})
    return Attached(manifest, "simple-signing", statement, None, raw, (signature,))
