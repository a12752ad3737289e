from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.errors import IntegrityError, LimitError, UnsafeError
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import (
    DOCUMENT_LIMIT,
    EntryRecord,
    FileRecord,
    InputRecord,
    KitDocument,
    LayerRecord,
    check_kit_path,
    parse_kit_document,
    render_kit_document,
)
from mlkit.spec.media_types import Class

FILE = FileRecord("data/ü b.csv", 3, 0o644, Digest.of(b"kit"), 512)
DOCUMENT = KitDocument(
    kitfile="# mine\r\nmodel: {path: m}\n",
    entries=(
        EntryRecord("model", Class.MODEL, None, "m", None, None),
        EntryRecord("datasets[0]", Class.DATASETS, "train", ".", "2", "all of it", ("data/empty",)),
    ),
    layers=(
        LayerRecord(
            digest=Digest.of(b"tar"),
            size=1024,
            diff_id=Digest.of(b"tar"),
            kind="tar",
            compression="none",
            cls=Class.DATASETS,
            entry="datasets[0]",
            files=(FILE,),
        ),
    ),
    inputs=(
        InputRecord("base-model", "registry.example/base:1", None, Digest.of(b"base")),
        InputRecord("run", uri="mlflow://run/1"),
        InputRecord("dataset", name="train", path="data", facts=(("dvc.md5", "0" * 32), ("dvc.path", "data"))),
    ),
)

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    """The document above with one thing about its JSON form changed."""
    value = json.loads(render_kit_document(DOCUMENT))
    change(value)
    return json.dumps(value).encode()


def test_a_document_reads_back_byte_for_byte() -> None:
    raw = render_kit_document(DOCUMENT)

    assert parse_kit_document(raw) == DOCUMENT
    assert render_kit_document(parse_kit_document(raw)) == raw


def test_the_bytes_are_canonical() -> None:
    raw = render_kit_document(KitDocument(kitfile="ü\n"))

    assert raw == '{"entries":[],"inputs":[],"kitfile":"ü\\n","layers":[],"schemaVersion":1}'.encode()


@pytest.mark.parametrize(
    "facts",
    [{str(number): "" for number in range(257)}, {"n": "x" * 4097}, {"n" * 4097: ""}],
    ids=["many", "long", "key"],
)
def test_facts_have_limits(facts: dict[str, str]) -> None:
    with pytest.raises(LimitError, match=r"inputs\[2\]"):
        parse_kit_document(changed(lambda value: value["inputs"][2].update(facts=facts)))


def test_the_path_of_an_input_stays_in_the_kit() -> None:
    with pytest.raises(UnsafeError, match=r"inputs\[2\]: the path '\.\./x'"):
        parse_kit_document(changed(lambda value: value["inputs"][2].update(path="../x")))


def test_names_that_a_later_version_adds_are_passed_over() -> None:
    raw = changed(lambda value: (value.update(later=1), value["layers"][0]["files"][0].update(later=[])))

    assert parse_kit_document(raw) == DOCUMENT


def test_another_version_asks_for_an_upgrade() -> None:
    with pytest.raises(IntegrityError, match="schemaVersion 2 is not known") as caught:
        parse_kit_document(changed(lambda value: value.update(schemaVersion=2)))

    assert "newer mlkit" in str(caught.value.hint)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value.pop("schemaVersion"), id="no version"),
        pytest.param(lambda value: value.update(schemaVersion="1"), id="a version that is text"),
        pytest.param(lambda value: value.update(schemaVersion=True), id="a version that is a truth value"),
        pytest.param(lambda value: value.pop("kitfile"), id="no Kitfile"),
        pytest.param(lambda value: value.update(kitfile={}), id="a Kitfile that is no text"),
        pytest.param(lambda value: value.pop("layers"), id="no layers"),
        pytest.param(lambda value: value.update(layers={}), id="layers in an object"),
        pytest.param(lambda value: value["layers"].append("x"), id="a layer that is text"),
        pytest.param(lambda value: value["layers"][0].update(size=-1), id="a negative size"),
        pytest.param(lambda value: value["layers"][0].update(size=1.0), id="a size that is a float"),
        pytest.param(lambda value: value["layers"][0].update(size=2**63), id="a size beyond 64 bits"),
        pytest.param(lambda value: value["layers"][0].update(digest="sha256:../x"), id="a digest that is a path"),
        pytest.param(lambda value: value["layers"][0].pop("diffId"), id="no digest of the content"),
        pytest.param(lambda value: value["layers"][0].update(kind="zip"), id="an unknown kind"),
        pytest.param(lambda value: value["layers"][0].update(compression="br"), id="an unknown compression"),
        pytest.param(lambda value: value["layers"][0].update({"class": "weights"}), id="an unknown class"),
        pytest.param(lambda value: value["layers"][0].update(entry=None), id="no entry"),
        pytest.param(lambda value: value["layers"][0]["files"][0].update(mode=0o4755), id="a set-user-id mode"),
        pytest.param(lambda value: value["layers"][0]["files"][0].update(mode=0o777), id="a mode open to all"),
        pytest.param(lambda value: value["layers"][0]["files"][0].update(offset="0"), id="an offset that is text"),
        pytest.param(
            lambda value: value["layers"][0]["files"][0].update(digest="sha512:" + "0" * 128), id="a sha512 of a file"
        ),
        pytest.param(lambda value: value["entries"][0].pop("id"), id="an entry without address"),
        pytest.param(lambda value: value["entries"][0].update(version=1), id="a version that is a number"),
        pytest.param(lambda value: value["entries"][1].update(directories=[1]), id="a directory that is a number"),
        pytest.param(lambda value: value["inputs"][0].update(digest=""), id="an input with an empty digest"),
        pytest.param(lambda value: value["inputs"][1].pop("role"), id="an input without role"),
        pytest.param(lambda value: value["inputs"][2].update(facts=[]), id="facts in a list"),
        pytest.param(lambda value: value["inputs"][2]["facts"].update(n=1), id="a fact that is a number"),
    ],
)
def test_another_shape_is_refused(change: Change) -> None:
    with pytest.raises(IntegrityError):
        parse_kit_document(changed(change))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("../x", id="climbs"),
        pytest.param("a/../../x", id="climbs later"),
        pytest.param("a/..", id="climbs at the end"),
        pytest.param("./a", id="a dot"),
        pytest.param("a//b", id="two slashes"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("", id="empty"),
        pytest.param(".", id="the root"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\x1b[31m", id="escape"),
        pytest.param("a\x9b31m", id="one-byte escape"),
        pytest.param("a/" * 3000 + "b", id="too long"),
        pytest.param("x" * 256, id="a name too long"),
        pytest.param("ü" * 128, id="a name too long in UTF-8"),
    ],
)
@pytest.mark.parametrize("place", ["file", "directory", "entry"])
def test_a_path_that_is_not_clean_and_relative_is_unsafe(place: str, path: str) -> None:
    if place == "entry" and path == ".":
        return

    def change(value: dict[str, Any]) -> None:
        if place == "file":
            value["layers"][0]["files"][0]["path"] = path
        elif place == "directory":
            value["entries"][1]["directories"][0] = path
        else:
            value["entries"][0]["path"] = path

    with pytest.raises(UnsafeError, match=r"kit document: \w+\[\d\].*the path ") as caught:
        parse_kit_document(changed(change))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@given(st.text("ab./\\~ \x00ü", max_size=20))
def test_a_path_that_passes_stays_below_the_root(path: str) -> None:
    try:
        check_kit_path(path, what="file")
    except UnsafeError:
        return

    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xef\xbb\xbf{}", b'{"kitfile":1,"kitfile":2}'])
def test_what_is_no_such_document_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="kit document"):
        parse_kit_document(raw)


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(LimitError):
        parse_kit_document(b" " * (DOCUMENT_LIMIT + 1))
    with pytest.raises(LimitError):
        parse_kit_document(b'{"a":' * 1000)
    with pytest.raises(LimitError, match="more than the limit"):
        render_kit_document(KitDocument(kitfile="x" * DOCUMENT_LIMIT))
