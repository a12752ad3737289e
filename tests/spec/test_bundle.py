"""Sigstore bundles of the kind that is signed with a key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError
from mlkit.spec.bundle import Bundle, parse_bundle, render_bundle
from mlkit.spec.dsse import Envelope, Signature
from mlkit.spec.media_types import SIGSTORE_BUNDLE

BUNDLE = Bundle(Envelope("application/x", b"{}", (Signature(None, b"s"),)), "aGludA==")

KEYLESS = "b.json: signed with a certificate (keyless), and mlkit verifies keys only"


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(render_bundle(BUNDLE)), **changes}).encode()


def test_what_is_rendered_parses_to_the_same_bundle() -> None:
    assert parse_bundle(render_bundle(BUNDLE), what="x") == BUNDLE


def test_what_is_rendered_has_the_form_that_cosign_writes() -> None:
    assert json.loads(render_bundle(BUNDLE)) == {
        "mediaType": SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "aGludA=="}, "tlogEntries": []},
        "dsseEnvelope": {"payload": "e30=", "payloadType": "application/x", "signatures": [{"sig": "cw=="}]},
    }


def test_entries_of_a_log_are_no_obstacle() -> None:
    material = {"publicKey": {}, "tlogEntries": [{"logIndex": "1"}]}

    assert parse_bundle(changed(verificationMaterial=material), what="x").hint is None


def test_a_key_without_a_hint_has_none() -> None:
    raw = render_bundle(Bundle(BUNDLE.envelope, None))

    assert json.loads(raw)["verificationMaterial"] == {"publicKey": {}, "tlogEntries": []}
    assert parse_bundle(raw, what="x").hint is None
    assert parse_bundle(changed(verificationMaterial={"publicKey": {"hint": ""}}), what="x").hint is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verificationMaterial": None}, "b.json: verificationMaterial is missing"),
        ({"verificationMaterial": {}}, "b.json: verificationMaterial has no publicKey"),
        ({"verificationMaterial": {"publicKey": "x"}}, "b.json: verificationMaterial has no publicKey"),
        ({"verificationMaterial": {"publicKey": {"hint": 1}}}, "b.json: the hint of publicKey is not text"),
        ({"verificationMaterial": {"publicKey": {}, "certificate": {}}}, KEYLESS),
        ({"verificationMaterial": {"publicKey": {}, "x509CertificateChain": {}}}, KEYLESS),
        (
            {"messageSignature": {}},
            "b.json: signs a digest and no statement (messageSignature), which says nothing of kits",
        ),
        ({"dsseEnvelope": None}, "b.json: dsseEnvelope: expected an envelope, found NoneType"),
        ({"mediaType": None}, f"b.json: not a Sigstore bundle: None (expected {SIGSTORE_BUNDLE})"),
        ({"mediaType": "x" * 200}, f"b.json: not a Sigstore bundle: '{'x' * 99} (expected {SIGSTORE_BUNDLE})"),
        (
            {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"},
            "b.json: a Sigstore bundle of another version: "
            f"'application/vnd.dev.sigstore.bundle+json;version=0.1' (expected {SIGSTORE_BUNDLE})",
        ),
    ],
)
def test_what_is_no_such_bundle_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        parse_bundle(changed(**changes), what="b.json")

    assert refused.value.message == told


def test_what_is_no_json_is_told_by_its_name() -> None:
    with pytest.raises(IntegrityError, match=r"^b\.json: expected a JSON object, found list$"):
        parse_bundle(b"[]", what="b.json")
