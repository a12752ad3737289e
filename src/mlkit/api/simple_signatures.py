"""Signing in cosign's older form, which policy engines of before bundles still ask for: `--legacy-sig`."""

from __future__ import annotations

import base64

from mlkit.api.cosign_tags import Place, add_layers
from mlkit.api.session import Located, Session
from mlkit.content.storage import BytesContent
from mlkit.errors import UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import CREATED, SIMPLE_SIGNATURE, SIMPLE_SIGNING
from mlkit.spec.simple_signing import SimplePayload, render_simple_payload, signature_tag
from mlkit.trust.keys import PrivateKey
from mlkit.trust.signer import Signer


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


def _place(session: Session, located: Located) -> Place:
    tag = signature_tag(located.desc.digest)
    if located.source == "local":
        return Place(session.layout, f"{located.reference.name}:{tag}")
    return Place(session.registry(located.reference), tag)
