"""What a forger can attach to a kit: bundles, manifests and payloads with anything changed, around true signatures."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.api.session import Located, Session
from mlkit.api.verifying import Verification, verify_located
from mlkit.content.storage import BytesContent
from mlkit.spec.bundle import render_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import pae
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import IN_TOTO, OCI_EMPTY, SIGSTORE_BUNDLE
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, STATEMENT_TYPE, Statement, Subject
from mlkit.trust.keys import PrivateKey, PublicKey, generate
from mlkit.trust.signer import Signer, sign_statement

ALICE = generate()
MALLORY = generate()
KEYS = {"alice": ALICE.public}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Victim:
    """A kit in a local store, and whoever attaches things to it."""

    session: Session
    located: Located

    @property
    def digest(self) -> Digest:
        return self.located.desc.digest

    def attach(
        self,
        bundle: bytes | dict[str, Any] | None,
        *,
        subject: Descriptor | None = None,
        artifact_type: str | None = SIGSTORE_BUNDLE,
        layer_type: str = SIGSTORE_BUNDLE,
        annotations: dict[str, str] | None = None,
        more_layers: Sequence[Descriptor] = (),
    ) -> Descriptor:
        """A referrer with this bundle, or with none at all."""
        layout = self.session.layout
        config = Descriptor.of(b"{}", OCI_EMPTY)
        layout.push(config, BytesContent(b"{}"))
        layers = []
        if bundle is not None:
            raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
            layers.append(Descriptor.of(raw, layer_type))
            layout.push(layers[0], BytesContent(raw))
        manifest = render_manifest(
            config=config,
            layers=(*layers, *more_layers) or (config,),
            artifact_type=artifact_type,
            annotations=annotations,
            subject=(subject or self.located.desc).bare,
        )
        layout.push(manifest.descriptor, BytesContent(manifest.raw))
        return manifest.descriptor

    def verify(self, keys: dict[str, PublicKey] | None = None) -> Verification:
        return verify_located(self.session, self.located, keys or KEYS)


def victim(session: Session) -> Victim:
    """A kit of its own."""
    number = next(_numbers)
    config = Descriptor.of(b"{}", OCI_EMPTY)
    session.layout.push(config, BytesContent(b"{}"))
    manifest = render_manifest(config=config, layers=(config,), artifact_type="x/y", annotations={"n": str(number)})
    session.layout.push(manifest.descriptor, BytesContent(manifest.raw))
    reference = Reference.parse(f"team/kit:{number}")
    session.layout.tag(manifest.descriptor, reference.local_name)
    return Victim(session, session.here(reference, session.local(reference)))


def statement_of(digest: Digest, kind: str = COSIGN_SIGN) -> Statement:
    return Statement((Subject("team/kit", digest),), kind, {})


def bundle_of(digest: Digest, key: Signer = ALICE) -> dict[str, Any]:
    """A sound bundle, as JSON to be changed."""
    value = json.loads(render_bundle(sign_statement(statement_of(digest), key)))
    assert isinstance(value, dict)
    return value


def signed(payload: bytes, key: PrivateKey = ALICE, kind: str = IN_TOTO) -> dict[str, Any]:
    """A bundle of any payload, truly signed."""
    value = bundle_of(Digest.of(b"any"), key)
    value["dsseEnvelope"] = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(key.sign(pae(kind, payload))).decode()}],
    }
    return value


def said(digest: Digest, **changes: Any) -> bytes:
    """The JSON of a statement with fields changed, or taken away by `...`."""
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "team/kit", "digest": {"sha256": digest.hex}}],
        "predicateType": COSIGN_SIGN,
        "predicate": {},
        **changes,
    }
    return json.dumps({name: item for name, item in value.items() if item is not ...}).encode()


def envelope_changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    """A change of the envelope, as a change of its bundle."""
    return lambda bundle: change(bundle["dsseEnvelope"])
