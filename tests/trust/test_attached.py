"""What is attached to a kit, read into statements: each field, each refusal by its words, and whose signatures hold."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.trust.forgery import ALICE, MALLORY, bundle_of, said, signed, statement_of

from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.spec.bundle import BUNDLE_LIMIT
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import pae
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import Index, Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import (
    CREATED,
    DSSE_ENVELOPE,
    IN_TOTO,
    OCI_EMPTY,
    OCI_INDEX,
    SIGSTORE_BUNDLE,
    SIMPLE_SIGNATURE,
    SIMPLE_SIGNING,
)
from mlkit.spec.simple_signing import PAYLOAD_LIMIT, SimplePayload, render_simple_payload
from mlkit.spec.statement import COSIGN_SIGN
from mlkit.trust.attached import Attached, is_bundle, older_layers, read_bundle, read_older
from mlkit.trust.keys import generate

KIT = Digest.of(b"kit")
OTHER = Digest.of(b"another kit")
HOLDER = Digest.of(b"the manifest under cosign's tag")
EDWARD = generate("ed25519")
EMPTY = Descriptor.of(b"{}", OCI_EMPTY)
INDEX = parse_manifest(
    render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": SIGSTORE_BUNDLE, "manifests": []})
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def stored(store: MemoryStore, raw: bytes, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
    desc = Descriptor.of(raw, media_type)
    store.push(desc, BytesContent(raw))
    return desc.with_annotations(annotations or {})


def referrer(*layers: Descriptor, artifact_type: str | None = SIGSTORE_BUNDLE) -> Manifest:
    return render_manifest(config=EMPTY, layers=layers or (EMPTY,), artifact_type=artifact_type)


def bundled(store: MemoryStore, value: dict[str, Any] | bytes) -> Manifest:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return referrer(stored(store, raw, SIGSTORE_BUNDLE))


def simple(
    store: MemoryStore, payload: SimplePayload | bytes, signature: str | None = None, *, key: Any = ALICE
) -> Descriptor:
    raw = payload if isinstance(payload, bytes) else render_simple_payload(payload)
    text = base64.b64encode(key.sign(raw)).decode() if signature is None else signature
    return stored(store, raw, SIMPLE_SIGNING, {SIMPLE_SIGNATURE: text})


def test_a_bundle_is_read_with_all_that_it_says(store: MemoryStore) -> None:
    value = bundle_of(KIT)
    manifest = bundled(store, value)

    found = read_bundle(store, manifest, KIT)

    assert found == Attached(
        digest=manifest.descriptor.digest,
        form="bundle",
        statement=statement_of(KIT),
        key_id=ALICE.key_id,
        message=pae(IN_TOTO, base64.b64decode(value["dsseEnvelope"]["payload"])),
        signatures=(base64.b64decode(value["dsseEnvelope"]["signatures"][0]["sig"]),),
    )
    assert found.signers({"alice": ALICE.public, "mallory": MALLORY.public}) == ("alice",)


def test_an_envelope_of_the_older_form_is_read_with_the_first_hint(store: MemoryStore) -> None:
    envelope = bundle_of(KIT)["dsseEnvelope"]
    sound = envelope["signatures"][0]["sig"]
    envelope["signatures"] = [{"sig": "QQ==", "keyid": "first"}, {"sig": sound, "keyid": "second"}]
    layer = stored(store, json.dumps(envelope).encode(), DSSE_ENVELOPE)

    found = read_older(store, HOLDER, layer, KIT)

    assert (found.digest, found.form, found.key_id) == (HOLDER, "envelope", "first")
    assert found.signatures == (b"A", base64.b64decode(sound))
    assert found.signers({"alice": ALICE.public}) == ("alice",)


def test_simple_signing_is_read_as_a_statement_of_the_signer(store: MemoryStore) -> None:
    payload = SimplePayload("team/kit", KIT, {CREATED: "2026-01-01T00:00:00Z", "by": "ci", "run": 7})
    layer = simple(store, payload)

    found = read_older(store, HOLDER, layer, KIT)

    assert (found.digest, found.form, found.key_id) == (HOLDER, "simple-signing", None)
    assert (found.statement.predicate_type, found.statement.predicate) == (COSIGN_SIGN, {})
    (subject,) = found.statement.subjects
    assert (subject.name, subject.digest) == ("team/kit", KIT)
    # What is no text has no meaning that we know.
    assert subject.annotations == {CREATED: "2026-01-01T00:00:00Z", "by": "ci"}
    assert found.created == "2026-01-01T00:00:00Z"
    assert found.message == render_simple_payload(payload)
    assert found.signers({"alice": ALICE.public, "mallory": MALLORY.public}) == ("alice",)


def test_simple_signing_is_ecdsas_alone(store: MemoryStore) -> None:
    layer = simple(store, SimplePayload("team/kit", KIT), key=EDWARD)

    found = read_older(store, HOLDER, layer, KIT)

    assert found.signers({"edward": EDWARD.public}) == ()
    # Where the same key signed an envelope, it counts.
    bundle = read_bundle(store, bundled(store, bundle_of(KIT, EDWARD)), KIT)
    assert bundle.signers({"alice": ALICE.public, "edward": EDWARD.public}) == ("edward",)


def test_signers_stand_in_the_order_of_the_keys_each_once(store: MemoryStore) -> None:
    value = bundle_of(KIT)
    message = pae(IN_TOTO, base64.b64decode(value["dsseEnvelope"]["payload"]))
    value["dsseEnvelope"]["signatures"] = [
        {"sig": base64.b64encode(key.sign(message)).decode()} for key in (MALLORY, ALICE, ALICE, EDWARD)
    ]

    found = read_bundle(store, bundled(store, value), KIT)

    keys = {"edward": EDWARD.public, "nobody": generate().public, "alice": ALICE.public, "mallory": MALLORY.public}
    assert found.signers(keys) == ("edward", "alice", "mallory")
    assert found.signers({}) == ()
    assert replace(found, signatures=()).signers(keys) == ()
    assert replace(found, message=found.message + b" ").signers(keys) == ()


def test_a_signature_that_nobody_looked_at_is_not_shown() -> None:
    attached = Attached(KIT, "bundle", statement_of(KIT), None, b"the message", (b"the signature",))

    assert "the message" not in repr(attached)
    assert "the signature" not in repr(attached)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (referrer(), True),
        (referrer(Descriptor.of(b"x", SIGSTORE_BUNDLE), artifact_type="x/y"), True),
        (referrer(EMPTY, Descriptor.of(b"x", SIGSTORE_BUNDLE), artifact_type=None), True),
        (referrer(artifact_type="x/y"), False),
        (referrer(artifact_type=None), False),
        (INDEX, False),
    ],
    ids=["by its type", "by its layer", "by its second layer", "of another type", "of none", "an index"],
)
def test_a_bundle_is_known_by_what_its_manifest_says(found: Manifest | Index, expected: bool) -> None:
    assert is_bundle(found) is expected


@pytest.mark.parametrize(
    "layers",
    [
        (EMPTY,),
        (Descriptor.of(b"x", SIGSTORE_BUNDLE), Descriptor.of(b"x", SIGSTORE_BUNDLE)),
        (Descriptor.of(b"x", SIGSTORE_BUNDLE), EMPTY),
        (EMPTY, Descriptor.of(b"x", SIGSTORE_BUNDLE)),
    ],
    ids=["of another type", "two bundles", "another after it", "another before it"],
)
def test_a_bundle_is_the_one_layer(layers: tuple[Descriptor, ...], store: MemoryStore) -> None:
    manifest = referrer(*layers)

    with pytest.raises(IntegrityError) as refused:
        read_bundle(store, manifest, KIT)

    assert refused.value.message == f"the bundle {manifest.descriptor.digest}: has other layers than the one bundle"


def refusal(store: MemoryStore, value: dict[str, Any] | bytes) -> tuple[str, str]:
    """What is said of a bundle that is refused, and what it is called."""
    manifest = bundled(store, value)
    with pytest.raises(IntegrityError) as refused:
        read_bundle(store, manifest, KIT)
    return refused.value.message, f"the bundle {manifest.descriptor.digest}"


def test_a_bundle_that_is_about_something_else_is_none(store: MemoryStore) -> None:
    message, what = refusal(store, bundle_of(OTHER))

    assert message == f"{what}: is about other content than {KIT}"


def test_a_payload_of_another_kind_is_no_statement(store: MemoryStore) -> None:
    message, what = refusal(store, signed(said(KIT), kind="é" * 200))

    assert message == f"{what}: holds {ascii('é' * 200)[:100]} (expected {IN_TOTO})"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"[]", "expected a JSON object, found list"),
        (signed(b"[]"), "expected a JSON object, found list"),
        (signed(said(KIT, predicateType=7)), "predicateType is missing, too long or not text"),
        ({**bundle_of(KIT), "dsseEnvelope": None}, "dsseEnvelope: expected an envelope, found NoneType"),
    ],
    ids=["no bundle", "no statement", "no type", "no envelope"],
)
def test_what_is_not_sound_is_told_of_the_bundle(value: dict[str, Any] | bytes, told: str, store: MemoryStore) -> None:
    message, what = refusal(store, value)

    assert message == f"{what}: {told}"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"[]", "expected a JSON object, found list"),
        (signed(b"[]")["dsseEnvelope"], "expected a JSON object, found list"),
        (bundle_of(OTHER)["dsseEnvelope"], f"is about other content than {KIT}"),
        (signed(b"{}", kind="x")["dsseEnvelope"], f"holds 'x' (expected {IN_TOTO})"),
        ({}, "payloadType is missing or not text"),
    ],
    ids=["no envelope", "no statement", "other content", "another kind", "no type"],
)
def test_what_is_not_sound_is_told_of_the_envelope(
    value: dict[str, Any] | bytes, told: str, store: MemoryStore
) -> None:
    layer = stored(store, value if isinstance(value, bytes) else json.dumps(value).encode(), DSSE_ENVELOPE)

    with pytest.raises(IntegrityError) as refused:
        read_older(store, HOLDER, layer, KIT)

    assert refused.value.message == f"the envelope {layer.digest}: {told}"


@pytest.mark.parametrize(
    ("payload", "signature", "told"),
    [
        (b"[]", "QQ==", "expected a JSON object, found list"),
        (SimplePayload("x", OTHER), "QQ==", f"is about other content than {KIT}"),
        (SimplePayload("x", KIT), "no base64", f"{SIMPLE_SIGNATURE} is not base64"),
    ],
    ids=["no payload", "other content", "no signature"],
)
def test_what_is_not_sound_is_told_of_the_signature(
    payload: SimplePayload | bytes, signature: str, told: str, store: MemoryStore
) -> None:
    layer = simple(store, payload, signature)

    with pytest.raises(IntegrityError) as refused:
        read_older(store, HOLDER, layer, KIT)

    assert refused.value.message == f"the signature {layer.digest}: {told}"


def test_a_layer_without_a_signature_is_told(store: MemoryStore) -> None:
    layer = simple(store, SimplePayload("x", KIT)).with_annotations({})

    with pytest.raises(IntegrityError) as refused:
        read_older(store, HOLDER, Descriptor(layer.media_type, layer.digest, layer.size), KIT)

    assert refused.value.message == (
        f"the signature {layer.digest}: {SIMPLE_SIGNATURE} is missing, too long or not text"
    )


def test_documents_that_are_too_large_are_not_fetched(store: MemoryStore) -> None:
    """Nothing of them is in the store: the limit is looked at first."""

    def layer(media_type: str, size: int) -> Descriptor:
        return Descriptor(media_type, KIT, size, annotations={SIMPLE_SIGNATURE: "QQ=="})

    for desc in (layer(DSSE_ENVELOPE, BUNDLE_LIMIT + 1), layer(SIMPLE_SIGNING, PAYLOAD_LIMIT + 1)):
        with pytest.raises(LimitError):
            read_older(store, HOLDER, desc, KIT)
    with pytest.raises(LimitError):
        read_bundle(store, referrer(layer(SIGSTORE_BUNDLE, BUNDLE_LIMIT + 1)), KIT)
    for desc in (layer(DSSE_ENVELOPE, BUNDLE_LIMIT), layer(SIMPLE_SIGNING, PAYLOAD_LIMIT)):
        with pytest.raises(NotFoundError):
            read_older(store, HOLDER, desc, KIT)
    with pytest.raises(NotFoundError):
        read_bundle(store, referrer(layer(SIGSTORE_BUNDLE, BUNDLE_LIMIT)), KIT)


def test_layers_of_other_kinds_under_cosigns_tag_are_passed_over() -> None:
    signature, envelope = Descriptor.of(b"s", SIMPLE_SIGNING), Descriptor.of(b"e", DSSE_ENVELOPE)

    assert older_layers(referrer(EMPTY, envelope, signature, EMPTY), what="x") == (envelope, signature)
    assert older_layers(referrer(EMPTY), what="x") == ()


def test_of_more_than_64_signatures_none_is_looked_at() -> None:
    def layers(count: int) -> tuple[Descriptor, ...]:
        return older_layers(referrer(*[Descriptor.of(b"s", SIMPLE_SIGNING)] * count, EMPTY), what="the tag")

    assert len(layers(64)) == 64
    with pytest.raises(LimitError) as refused:
        layers(65)
    assert refused.value.message == "the tag: 65 signatures (at most 64)"


def test_as_many_older_signatures_are_read_as_the_limit_says() -> None:
    found = referrer(*[Descriptor.of(b"s", SIMPLE_SIGNING)] * 70, EMPTY)

    assert len(older_layers(found, what="the tag", limit=70)) == 70
    with pytest.raises(LimitError, match="at most 69") as refused:
        older_layers(found, what="the tag", limit=69)
    assert "`statements`" in (refused.value.hint or "")
