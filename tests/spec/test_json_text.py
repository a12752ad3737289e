from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.json_values import JSON_VALUES

from mlkit.errors import IntegrityError, LimitError, MlkitError
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_json, parse_object, render_json


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"digest":"a","digest":"b"}', id="in the root"),
        pytest.param(b'{"a":[{"b":1,"c":2,"b":1}]}', id="deeper, with equal values"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="one of them escaped"),
    ],
)
def test_b07_a_name_twice_in_one_object_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="occurs twice"):
        parse_json(raw, what="manifest")


def test_names_that_differ_in_case_are_different_names() -> None:
    assert parse_json(b'{"digest":1,"Digest":2}', what="manifest") == {"digest": 1, "Digest": 2}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param("{}".encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param("{}".encode("utf-32"), id="UTF-32"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'"\xff"', id="invalid UTF-8"),
        pytest.param(b'"\xc0\xaf"', id="overlong UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate as UTF-8"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[Infinity]", id="Infinity"),
        pytest.param(b"-Infinity", id="minus Infinity"),
        pytest.param(b"1e400", id="a number that is infinite"),
        pytest.param(b"1" * 5000, id="5,000 digits"),
        pytest.param(b"-" + b"9" * 20, id="20 digits"),
        pytest.param(b'"\\ud800"', id="a lone surrogate"),
        pytest.param(b'{"\\udc00":1}', id="a lone surrogate as a name"),
        pytest.param(b"{} {}", id="a second document"),
        pytest.param(b"{}x", id="trailing text"),
        pytest.param(b"{}\0", id="trailing NUL"),
        pytest.param(b'"a\0b"', id="NUL in a string"),
        pytest.param(b'"a\nb"', id="line break in a string"),
        pytest.param(b"// kit\n{}", id="comment"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b"[1,]", id="trailing comma"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"a":', id="cut short"),
        pytest.param(b"]" * 100, id="closed before it is opened"),
        pytest.param(b'["' + b'\\"' * 100_000, id="a string without end"),
    ],
)
def test_b08_what_is_not_strict_json_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="manifest: "):
        parse_json(raw, what="manifest")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[" * 200_000 + b"]" * 200_000, id="200,000 arrays"),
        pytest.param(b'{"a":' * (MANIFEST_LIMIT // 5), id="4 MiB of objects"),
        pytest.param(b"[" * 65 + b"]" * 65, id="one level too many"),
        pytest.param(b'[{"a":' * 33 + b"1" + b"}]" * 33, id="objects in arrays"),
        pytest.param(b" " * (MANIFEST_LIMIT + 1), id="one byte too many"),
        pytest.param(
            b'{"annotations":{%s}}' % b",".join(b'"%d":""' % n for n in range(1_000_000)), id="a million names"
        ),
    ],
)
def test_b09_depth_and_size_are_bounded_before_anything_is_built(raw: bytes) -> None:
    with pytest.raises(LimitError, match="manifest: "):
        parse_json(raw, what="manifest")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[" * 64 + b"]" * 64, id="64 levels"),
        pytest.param(b"[" + b"[]," * 10_000 + b"{}]", id="many beside each other"),
        pytest.param(b'["' + b"[" * 1000 + b'\\"{{{"]', id="brackets in a string"),
    ],
)
def test_what_is_wide_or_quoted_is_not_deep(raw: bytes) -> None:
    assert isinstance(parse_json(raw, what="manifest"), list)


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"text"', b"1"])
def test_an_object_is_asked_for_where_one_must_be(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="expected a JSON object"):
        parse_object(raw, what="manifest")


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"', what="text") == "\N{GRINNING FACE}"


@given(JSON_VALUES)
def test_what_is_rendered_is_canonical_and_reads_back(value: object) -> None:
    raw = render_json(value)

    assert parse_json(raw, what="value") == value
    assert render_json(json.loads(raw)) == raw


@given(st.binary(max_size=60) | st.text('[]{}",:\\ a1u', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_as_a_plain_reader_would_at_most(raw: bytes) -> None:
    try:
        value = parse_json(raw, what="value")
    except MlkitError:
        return

    assert json.loads(raw) == value


def test_rendering_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_json({"a": float("nan")})
