"""DSSE envelopes, strictly."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.dsse import Envelope, Signature, decode_base64, envelope_of, pae, parse_envelope, render_envelope
from mlkit.spec.json_text import MANIFEST_LIMIT

SOUND = {"payloadType": "x", "payload": "", "signatures": [{"sig": "QQ=="}]}


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

    assert parse_envelope(render_envelope(envelope), what="x") == envelope


def test_both_alphabets_are_read() -> None:
    raw = b"\xfb\xef\xff"

    assert decode_base64(base64.b64encode(raw).decode(), what="x") == raw
    assert decode_base64(base64.urlsafe_b64encode(raw).decode(), what="x") == raw


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("QQ", "x is not base64"),
        ("QQ=", "x is not base64"),
        ("QR==", "x is not base64 as it is written for these bytes"),
        ("QQ==\n", "x is not base64"),
        (" QQ==", "x is not base64"),
        ("Q Q=", "x is not base64"),
        ("+-8=", "x is not base64"),
        ("QQ===", "x is not base64"),
        ("Q", "x is not base64"),
        ("=", "x is not base64"),
        ("é", "x is not base64"),
        (None, "x is missing, too long or not text"),
        (1, "x is missing, too long or not text"),
        (b"QQ==", "x is missing, too long or not text"),
        ("A" * (MANIFEST_LIMIT + 4), "x is missing, too long or not text"),
    ],
    ids=[
        "no padding",
        "half of it",
        "stray bits",
        "a line",
        "a space before it",
        "a space in it",
        "a mixture",
        "too much padding",
        "one character",
        "padding alone",
        "an accent",
        "nothing",
        "a number",
        "bytes",
        "too long",
    ],
)
def test_every_other_base64_is_refused(text: object, told: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        decode_base64(text, what="x")

    assert refused.value.message == told


def test_the_longest_base64_is_read() -> None:
    assert len(decode_base64("A" * MANIFEST_LIMIT, what="x")) == MANIFEST_LIMIT // 4 * 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "e: expected a JSON object, found list"),
        ({}, "e: payloadType is missing or not text"),
        ({**SOUND, "payloadType": ""}, "e: payloadType is missing or not text"),
        ({**SOUND, "payloadType": 1}, "e: payloadType is missing or not text"),
        ({**SOUND, "signatures": []}, "e: no signatures"),
        ({**SOUND, "signatures": {}}, "e: no signatures"),
        ({**SOUND, "payload": None}, "e: payload is missing, too long or not text"),
        ({**SOUND, "signatures": [{"sig": "QQ=="}, {"sig": ""}]}, "e: signatures[1]: sig is empty"),
        ({**SOUND, "signatures": [{}]}, "e: signatures[0]: sig is missing, too long or not text"),
        ({**SOUND, "signatures": ["QQ=="]}, "e: signatures[0]: expected an object, found str"),
        ({**SOUND, "signatures": [{"sig": "QQ==", "keyid": 1}]}, "e: signatures[0]: keyid is not text"),
    ],
    ids=[
        "a list",
        "nothing",
        "an empty type",
        "a type that is a number",
        "no signature",
        "signatures in an object",
        "no payload",
        "an empty signature",
        "a signature without bytes",
        "a signature that is text",
        "a hint that is a number",
    ],
)
def test_what_is_no_envelope_is_refused(value: Any, told: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        parse_envelope(json.dumps(value).encode(), what="e")

    assert refused.value.message == told


def test_an_envelope_in_another_document_is_told_by_where_it_stands() -> None:
    with pytest.raises(IntegrityError, match=r"^the bundle: expected an envelope, found list$"):
        envelope_of([], what="the bundle")


def test_a_hint_that_is_empty_is_none() -> None:
    value = {**SOUND, "signatures": [{"sig": "QQ==", "keyid": ""}, {"sig": "QQ==", "keyid": "k"}]}

    found = parse_envelope(json.dumps(value).encode(), what="e")

    assert found.signatures == (Signature(None, b"A"), Signature("k", b"A"))


def test_more_than_64_signatures_are_refused() -> None:
    def envelope(count: int) -> bytes:
        return json.dumps({**SOUND, "signatures": [{"sig": "QQ=="}] * count}).encode()

    assert len(parse_envelope(envelope(64), what="e").signatures) == 64
    with pytest.raises(LimitError) as refused:
        parse_envelope(envelope(65), what="e")
    assert refused.value.message == "e: 65 signatures (at most 64)"


def test_what_is_rendered_is_canonical() -> None:
    envelope = Envelope("application/x", b"{}", (Signature("k", b"s"), Signature(None, b"t")))

    assert render_envelope(envelope) == (
        b'{"payload":"e30=","payloadType":"application/x","signatures":[{"keyid":"k","sig":"cw=="},{"sig":"dA=="}]}'
    )
