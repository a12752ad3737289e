"""The older form of cosign's signatures: what is signed, and under which tags they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.digest import Digest
from mlkit.spec.simple_signing import (
    PAYLOAD_LIMIT,
    SimplePayload,
    attestation_tag,
    cosign_tags,
    parse_simple_payload,
    render_simple_payload,
    signature_tag,
)

KIT = Digest.of(b"kit")

# As cosign 2 writes it, null and all.
COSIGN = (
    '{"critical":{"identity":{"docker-reference":"registry.example/team/digits"},'
    f'"image":{{"docker-manifest-digest":"{KIT}"}},"type":"cosign container image signature"}},"optional":null}}'
).encode()


def payload(**changes: Any) -> bytes:
    """What cosign writes with fields of `critical` changed; `...` takes one away."""
    value = json.loads(COSIGN)
    optional = changes.pop("optional", None)
    critical = {**value["critical"], **changes}
    return json.dumps(
        {"critical": {name: item for name, item in critical.items() if item is not ...}, "optional": optional}
    ).encode()


def test_what_cosign_signed_is_read() -> None:
    assert parse_simple_payload(COSIGN, what="payload") == SimplePayload("registry.example/team/digits", KIT)


def test_what_is_rendered_is_what_cosign_writes_and_reads_back() -> None:
    plain = SimplePayload("registry.example/team/digits", KIT)
    more = SimplePayload("", KIT, {"creator": "mlkit", "timestamp": 1})

    assert render_simple_payload(plain) == COSIGN
    assert parse_simple_payload(render_simple_payload(more), what="payload") == more


def test_a_signature_without_a_name_still_says_which_digest_it_is_for() -> None:
    assert parse_simple_payload(payload(identity={}), what="payload") == SimplePayload("", KIT)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{}", "not a signature of a container image"),
        (b'{"critical": []}', "not a signature of a container image"),
        (payload(type="atomic container signature"), "not a signature of a container image"),
        (payload(type=...), "not a signature of a container image"),
        (payload(image=...), "image or identity is missing"),
        (payload(image="x"), "image or identity is missing"),
        (payload(identity=...), "image or identity is missing"),
        (payload(identity=["x"]), "image or identity is missing"),
        (payload(identity={"docker-reference": 7}), "docker-reference is not text"),
        (payload(optional=["x"]), "optional is no object"),
        (payload(image={}), "digest"),
        (payload(image={"docker-manifest-digest": "sha256:00"}), "digest"),
        (payload(image={"docker-manifest-digest": 7}), "digest"),
        (b"[]", "payload: "),
        (COSIGN[:-1], "payload: "),
        (COSIGN.replace(b'{"critical"', b'{"critical":{},"critical"'), "payload: "),
    ],
)
def test_what_is_no_such_payload_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(IntegrityError, match=told):
        parse_simple_payload(raw, what="payload")


def test_a_payload_beyond_the_limit_is_not_read() -> None:
    with pytest.raises(LimitError):
        parse_simple_payload(COSIGN + b" " * PAYLOAD_LIMIT, what="payload")


def test_the_tags_are_those_that_cosign_looks_for() -> None:
    digest = Digest.parse("sha256:" + "ab" * 32)

    assert signature_tag(digest) == f"sha256-{'ab' * 32}.sig"
    assert attestation_tag(digest) == f"sha256-{'ab' * 32}.att"
    assert cosign_tags(digest) == (signature_tag(digest), attestation_tag(digest))
