"""In-toto statements: what is written, and what is taken from others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.digest import Digest
from mlkit.spec.statement import (
    COSIGN_SIGN,
    SLSA_PROVENANCE,
    STATEMENT_TYPE,
    Statement,
    Subject,
    parse_statement,
    predicate_type_of,
    render_statement,
)

KIT = Digest.of(b"kit")


def written(**changes: Any) -> bytes:
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "team/digits", "digest": {"sha256": KIT.hex}}],
        "predicateType": SLSA_PROVENANCE,
        "predicate": {"a": 1},
        **changes,
    }
    return json.dumps({name: item for name, item in value.items() if item is not ...}).encode()


def test_what_is_rendered_parses_to_the_same_statement() -> None:
    statement = Statement((Subject("team/digits", KIT, {"k": "v"}),), COSIGN_SIGN, {"b": [1, "é"], "a": None})

    raw = render_statement(statement)

    assert parse_statement(raw) == statement
    assert raw == render_statement(parse_statement(raw))


def test_a_subject_without_annotations_says_nothing_of_them() -> None:
    statement = Statement((Subject("team/digits", KIT),), COSIGN_SIGN, {})

    raw = render_statement(statement)

    assert json.loads(raw)["subject"] == [{"name": "team/digits", "digest": {"sha256": KIT.hex}}]
    assert parse_statement(raw) == statement


def test_a_statement_of_another_tool_is_read() -> None:
    subject = [
        {"name": "commit", "digest": {"gitCommit": "0" * 40}},
        {"name": None, "digest": {"sha256": KIT.hex, "sha512": "0" * 128}, "annotations": {"n": 1, "t": "x"}},
    ]

    statement = parse_statement(written(subject=subject, predicate=..., _type="https://in-toto.io/Statement/v0.1"))

    assert [(one.name, one.digest.algorithm) for one in statement.subjects] == [("", "sha256"), ("", "sha512")]
    assert statement.subjects[0].annotations == {"t": "x"}
    assert statement.predicate == {}
    assert statement.names(KIT)
    assert not statement.names(Digest.of(b"other"))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"_type": "https://in-toto.io/Statement/v2"}, id="version 2"),
        pytest.param({"_type": ["https://in-toto.io/Statement/v1"]}, id="type is a list"),
        pytest.param({"_type": ...}, id="no type"),
        pytest.param({"subject": []}, id="no subject"),
        pytest.param({"subject": {"name": "x"}}, id="subject is no list"),
        pytest.param({"subject": ["x"]}, id="subject is text"),
        pytest.param({"subject": [{"name": "x"}]}, id="no digest"),
        pytest.param({"subject": [{"name": 1, "digest": {"sha256": KIT.hex}}]}, id="name is a number"),
        pytest.param({"subject": [{"digest": {"sha256": KIT.hex.upper()}}]}, id="capitals"),
        pytest.param({"subject": [{"digest": {"sha256": KIT.hex[:63]}}]}, id="short"),
        pytest.param({"subject": [{"digest": {"sha256": 1}}]}, id="digest is a number"),
        pytest.param({"predicateType": ""}, id="no predicate type"),
        pytest.param({"predicateType": 1}, id="predicate type is a number"),
        pytest.param({"predicateType": "x" * 2000}, id="long predicate type"),
        pytest.param({"predicate": []}, id="predicate is a list"),
    ],
)
def test_what_is_no_statement_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        parse_statement(written(**changes))


def test_a_statement_of_too_many_subjects_is_refused() -> None:
    with pytest.raises(LimitError, match="10001 subjects"):
        parse_statement(written(subject=[{"digest": {"sha256": KIT.hex}}] * 10_001))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("slsaprovenance1", SLSA_PROVENANCE), ("cyclonedx", "https://cyclonedx.org/bom"), ("urn:x:y", "urn:x:y")],
)
def test_types_have_short_names(text: str, expected: str) -> None:
    assert predicate_type_of(text) == expected


@pytest.mark.parametrize("text", ["", "slsa", "https://with space", "https:", "x:" + "y" * 2000, "x:\n"])
def test_what_is_neither_short_name_nor_uri_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        predicate_type_of(text)
