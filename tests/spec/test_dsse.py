"""DSSE envelopes, strictly."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.dsse import Envelope, Signature, decode_base64, pae, parse_envelope, render_envelope


def test_the_encoding_is_the_one_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_no_two_pairs_of_type_and_payload_are_signed_alike() -> None:
    assert pae("a", b"b 1 c") != pae("a 5 b", b"c")
    assert pae("a 1", b"") != pae("a", b"1 ")


def test_what_is_rendered_parses_to_the_same_envelope() -> None:
    envelope = Envelope("application/x", b"\x00\xff", (Signature("k", b"s"), Signature(None, b"t")))

    assert parse_envelope(render_envelope(envelope)) == envelope


def test_both_alphabets_are_read() -> None:
    raw = b"\xfb\xef\xff"

    assert decode_base64(base64.b64encode(raw).decode(), what="x") == raw
    assert decode_base64(base64.urlsafe_b64encode(raw).decode(), what="x") == raw


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q Q=", "+-8=", "QQ===", "Q", "=", "é", None, 1, b"QQ=="]
)
def test_every_other_base64_is_refused(text: object) -> None:
    with pytest.raises(IntegrityError):
        decode_base64(text, what="x")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"payloadType": "", "payload": "", "signatures": [{"sig": "QQ=="}]},
        {"payloadType": "x", "payload": "", "signatures": []},
        {"payloadType": "x", "payload": "", "signatures": {}},
        {"payloadType": "x", "signatures": [{"sig": "QQ=="}]},
        {"payloadType": "x", "payload": "", "signatures": [{"sig": ""}]},
        {"payloadType": "x", "payload": "", "signatures": ["QQ=="]},
        {"payloadType": "x", "payload": "", "signatures": [{"sig": "QQ==", "keyid": 1}]},
    ],
)
def test_what_is_no_envelope_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError):
        parse_envelope(json.dumps(value).encode())


def test_more_than_64_signatures_are_refused() -> None:
    value = {"payloadType": "x", "payload": "", "signatures": [{"sig": "QQ=="}] * 65}

    with pytest.raises(LimitError, match="65 signatures"):
        parse_envelope(json.dumps(value).encode())
