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


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(render_bundle(BUNDLE)), **changes}).encode()


def test_what_is_rendered_parses_to_the_same_bundle() -> None:
    assert parse_bundle(render_bundle(BUNDLE)) == BUNDLE


def test_what_is_rendered_has_the_form_that_cosign_writes() -> None:
    assert json.loads(render_bundle(BUNDLE)) == {
        "mediaType": SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "aGludA=="}, "tlogEntries": []},
        "dsseEnvelope": {"payload": "e30=", "payloadType": "application/x", "signatures": [{"sig": "cw=="}]},
    }


def test_entries_of_a_log_are_no_obstacle() -> None:
    material = {"publicKey": {}, "tlogEntries": [{"logIndex": "1"}]}

    assert parse_bundle(changed(verificationMaterial=material)).hint is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verificationMaterial": None}, "verificationMaterial"),
        ({"verificationMaterial": {}}, "no publicKey"),
        ({"verificationMaterial": {"publicKey": "x"}}, "no publicKey"),
        ({"verificationMaterial": {"publicKey": {"hint": 1}}}, "hint"),
        ({"dsseEnvelope": None}, "envelope"),
        ({"mediaType": None}, "not a Sigstore bundle"),
        ({"mediaType": "application/json"}, "not a Sigstore bundle"),
    ],
)
def test_what_is_no_such_bundle_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(IntegrityError, match=told):
        parse_bundle(changed(**changes))
