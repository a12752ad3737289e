from __future__ import annotations

import base64
from typing import Any

import pytest

from mlkit.errors import IntegrityError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

KIT = {"mediaType": "text/plain", "digest": str(Digest.of(b"kit")), "size": 3}


def described(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**KIT, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(-1, id="negative"),
        pytest.param(1e3, id="a float"),
        pytest.param(3.0, id="a whole float"),
        pytest.param("12", id="text"),
        pytest.param(2**63, id="beyond 64 bits"),
        pytest.param(True, id="a truth value"),
        pytest.param(None, id="null"),
        pytest.param(..., id="missing"),
    ],
)
def test_b03_a_size_that_is_no_whole_number_of_bytes_is_refused(size: object) -> None:
    with pytest.raises(IntegrityError, match="size"):
        Descriptor.parse(described(size=size))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(base64.b64encode(b"kitt").decode(), 3, id="longer than the size"),
        pytest.param(base64.b64encode(b"ki").decode(), 3, id="shorter than the size"),
        pytest.param(base64.b64encode(b"tik").decode(), 3, id="another digest"),
        pytest.param(base64.b64encode(b"kit").decode(), 4, id="another size"),
        pytest.param("a2l0\n", 3, id="a line break in it"),
        pytest.param("a2l", 3, id="no padding"),
        pytest.param("a2l0!", 3, id="a character that is none of base64"),
        pytest.param("ä", 3, id="not ASCII"),
        pytest.param(12, 3, id="a number"),
        pytest.param("A" * 4 * 1024 * 1024, 3, id="4 MiB"),
    ],
)
def test_b14_data_that_does_not_match_digest_and_size_is_refused(data: object, size: int) -> None:
    with pytest.raises(IntegrityError, match="data"):
        Descriptor.parse(described(data=data, size=size))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mediaType": ...}, "mediaType"),
        ({"mediaType": ""}, "mediaType"),
        ({"mediaType": 1}, "mediaType"),
        ({"digest": ...}, "digest"),
        ({"artifactType": []}, "artifactType"),
        ({"platform": "linux"}, "platform"),
        ({"annotations": []}, "annotations"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"annotations": {"a": None}}, "annotations"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(IntegrityError, match=field):
        Descriptor.parse(described(**changes), what="layers[2]")


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_what_is_no_object_is_no_descriptor(value: object) -> None:
    with pytest.raises(IntegrityError, match="expected a descriptor"):
        Descriptor.parse(value)


def test_what_is_parsed_renders_to_the_same_form() -> None:
    value = described(
        annotations={"a": "b"},
        artifactType="application/x",
        platform={"os": "linux"},
        data=base64.b64encode(b"kit").decode(),
    )

    descriptor = Descriptor.parse(value)

    assert descriptor.render() == value
    assert descriptor.data == b"kit"


def test_urls_are_never_kept() -> None:
    descriptor = Descriptor.parse(described(urls=["http://169.254.169.254/"]))

    assert "urls" not in descriptor.render()


def test_null_annotations_are_none() -> None:
    assert Descriptor.parse(described(annotations=None)).annotations == {}


def test_annotations_are_set_and_taken_away_in_a_copy() -> None:
    before = Descriptor.of(b"kit", "text/plain", {"a": "1", "b": "2"})

    after = before.with_annotations({"a": None, "c": "3"})

    assert after.annotations == {"b": "2", "c": "3"}
    assert before.annotations == {"a": "1", "b": "2"}
    assert after.bare == before.bare == Descriptor("text/plain", Digest.of(b"kit"), 3)


def test_descriptors_can_be_members_of_sets() -> None:
    first = Descriptor.of(b"kit", "text/plain", {"a": "1"})

    assert len({first, Descriptor.of(b"kit", "text/plain", {"a": "1"})}) == 1
