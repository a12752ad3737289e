"""`index.json`, the marker and the journal: what others write there, and what is broken."""

from __future__ import annotations

import errno
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import push_blob, push_manifest

from mlkit.content.index import Entry, LayoutIndex
from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, NotFoundError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import REF_NAME


def index_of(layout: Layout) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((layout.root / "index.json").read_bytes())
    return value


def write_index(layout: Layout, value: object) -> None:
    (layout.root / "index.json").write_text(json.dumps(value))


def entry(desc: Descriptor, name: str) -> dict[str, Any]:
    return desc.with_annotations({REF_NAME: name}).render()


def test_what_others_wrote_in_the_index_is_kept(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    foreign = {
        "mediaType": "application/vnd.example.other+json",
        "digest": "blake3:af1349b9f5f9a1a6a0404dea36dcc949",
        "size": 3,
        "x-unknown": {"a": [1]},
    }
    ours = {**entry(desc, "digits:1"), "x-unknown": "kept"}
    write_index(layout, {"schemaVersion": 2, "x-field": [1.5, None], "manifests": [foreign, ours]})

    layout.tag(desc, "digits:2")

    assert index_of(layout)["x-field"] == [1.5, None]
    assert index_of(layout)["manifests"][:2] == [foreign, ours]
    assert list(layout.names()) == ["digits:1", "digits:2"]


def test_a_foreign_change_of_the_index_is_seen_at_once(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    assert list(layout.names()) == ["digits:1"]

    write_index(layout, {"schemaVersion": 2, "manifests": [entry(desc, "digits:22")]})

    assert list(layout.names()) == ["digits:22"]


def test_b20_bad_names_are_ignored_and_double_ones_never_resolve(layout: Layout) -> None:
    first, second = push_manifest(layout, b"first").descriptor, push_manifest(layout, b"second").descriptor
    bad = ["../../x", "", "a" * 300, "x\n\x1b[31m", "a:b:c d"]
    manifests = [entry(first, name) for name in bad]
    manifests += [entry(first, "twice:1"), entry(second, "twice:1"), entry(first, "same:1"), entry(first, "same:1")]
    write_index(layout, {"schemaVersion": 2, "manifests": manifests})

    assert list(layout.names()) == ["same:1"]
    with pytest.raises(ConflictError, match=f"{first.digest} and {second.digest}"):
        layout.resolve("twice:1")
    for name in bad:
        with pytest.raises(NotFoundError):
            layout.resolve(name)
    assert len(layout.findings()) == len(bad) + 1
    assert all(text.isprintable() for text in layout.findings())

    layout.tag(second, "twice:1")

    assert layout.resolve("twice:1").digest == second.digest
    assert [item["annotations"][REF_NAME] for item in index_of(layout)["manifests"][: len(bad)]] == bad


def make_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_an_index_whose_list_is_null_is_empty(layout: Layout) -> None:
    """As Go writes a list that nothing was ever put into."""
    write_index(layout, {"schemaVersion": 2, "manifests": None})

    assert layout.manifests() == ()

    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")

    assert len(index_of(layout)["manifests"]) == 1


def make_huge(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(100 << 20)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(Path.unlink, id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b"[]"), id="array"),
        pytest.param(lambda path: path.write_bytes(b'{"schemaVersion": 2, "manifests": {}}'), id="no-list"),
        pytest.param(lambda path: path.write_bytes(b'{"schemaVersion": 2}'), id="no-manifests"),
        pytest.param(lambda path: path.write_bytes(b'{"schemaVersion": 2, "manifests": [7]}'), id="no-descriptor"),
        pytest.param(lambda path: path.write_bytes(b'{"schemaVersion": 1, "manifests": []}'), id="schema-1"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes().replace(b"sha256:", b"sha256:Z")), id="flip"),
        pytest.param(make_huge, id="huge"),
        pytest.param(make_link, id="link"),
        pytest.param(make_folder, id="folder"),
        pytest.param(make_pipe, id="pipe"),
    ],
)
def test_b22_a_broken_index_is_an_error_and_never_written_over(layout: Layout, damage: Any) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    damage(layout.root / "index.json")
    before = sorted(os.fspath(path) for path in layout.root.rglob("*"))

    for attempt in (
        lambda: Layout.at(layout.root),
        lambda: Layout.create(layout.root),
        lambda: layout.tag(desc, "digits:2"),
        lambda: layout.untag("digits:1"),
        lambda: layout.unrecord(desc),
        layout.names,
    ):
        with pytest.raises(StoreError, match=r"index\.json") as caught:
            attempt()
        assert caught.value.hint is not None

    assert sorted(os.fspath(path) for path in layout.root.rglob("*")) == before


@pytest.mark.parametrize("content", [b'{"imageLayoutVersion":"2.0.0"}', b"", b"[]", b"{}", bytes(5000)], ids=repr)
def test_a_broken_marker_is_an_error(layout: Layout, content: bytes) -> None:
    (layout.root / "oci-layout").write_bytes(content)

    for opened in (Layout.at, Layout.create):
        with pytest.raises(StoreError, match=r"oci-layout|OCI image layout"):
            opened(layout.root)

    assert (layout.root / "oci-layout").read_bytes() == content


def test_a_layout_that_lost_its_marker_is_an_error(layout: Layout) -> None:
    push_blob(layout, b"layer")
    (layout.root / "oci-layout").unlink()

    for opened in (Layout.at, Layout.create):
        with pytest.raises(StoreError, match="is missing"):
            opened(layout.root)

    assert not (layout.root / "oci-layout").exists()


def test_a_layout_whose_maker_was_interrupted_is_made_complete(layout: Layout) -> None:
    (layout.root / "oci-layout").unlink()

    assert Layout.create(layout.root).names() == {}


def test_every_change_of_a_name_is_in_the_journal(layout: Layout) -> None:
    first, second = push_manifest(layout, b"first").descriptor, push_manifest(layout, b"second").descriptor

    layout.tag(first, "digits:1")
    layout.tag(first, "digits:1")
    layout.tag(second, "digits:1")
    layout.untag("digits:1")

    lines = [json.loads(line) for line in (layout.root / ".mlkit" / "journal").read_bytes().splitlines()]
    assert [(line["name"], line["old"], line["new"]) for line in lines] == [
        ("digits:1", None, str(first.digest)),
        ("digits:1", str(first.digest), str(second.digest)),
        ("digits:1", str(second.digest), None),
    ]
    assert {line["time"] for line in lines} == {"2023-11-14T22:13:20.000Z"}


def test_a_journal_with_half_a_line_goes_on_with_a_new_one(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    journal = layout.root / ".mlkit" / "journal"
    journal.write_bytes(b'{"time": "20')

    layout.tag(desc, "digits:1")

    half, whole = journal.read_bytes().splitlines()
    assert half == b'{"time": "20'
    assert json.loads(whole)["name"] == "digits:1"


def test_the_index_before_the_last_change_is_kept(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    before = (layout.root / "index.json").read_bytes()

    layout.tag(desc, "digits:2")

    assert (layout.root / ".mlkit" / "index.json.prev").read_bytes() == before


def test_a_hundred_kits_are_listed_from_one_reading_of_the_index(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    write_index(layout, {"schemaVersion": 2, "manifests": [entry(desc, f"digits:{number}") for number in range(150)]})
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **named: (opened.append(str(path)), real(path, *rest, **named))[1]
    )

    again = Layout.at(layout.root)
    for name in again.names():
        again.resolve(name)

    assert sum(path.endswith("index.json") for path in opened) == 1


def test_on_a_file_system_without_links_the_index_before_is_kept_as_a_copy(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    desc = push_manifest(layout, b"layer").descriptor
    monkeypatch.setattr(os, "link", no_links)
    layout.tag(desc, "digits:1")
    before = (layout.root / "index.json").read_bytes()

    layout.tag(desc, "digits:2")

    assert (layout.root / ".mlkit" / "index.json.prev").read_bytes() == before
    assert not (layout.root / ".mlkit" / "index.json.prev.new").exists()
    assert set(Layout.at(layout.root).names()) == {"digits:1", "digits:2"}


def test_who_has_no_name_on_this_machine_is_in_the_journal_by_number(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_242_424)

    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")

    (line,) = map(json.loads, (layout.root / ".mlkit" / "journal").read_bytes().splitlines())
    assert line["who"]["user"] == "4242424"


def test_an_index_that_cannot_be_read_is_an_error_of_the_disk(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def failing(path: Any, *rest: Any, **named: Any) -> int:
        if str(path).endswith("index.json"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", failing)

    with pytest.raises(StoreError, match=r"index\.json: Input/output error"):
        Layout.at(layout.root)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda raw: raw.replace(b'"schemaVersion":2', b'"schemaVersion":', 1), "index"),
        (lambda raw: raw[:-1], "index"),
        (lambda raw: b"", "index"),
        (lambda raw: b"[]", "index"),
    ],
    ids=["head", "end", "empty", "list"],
)
def test_what_is_taken_apart_by_lines_is_refused_as_what_is_parsed(layout: Layout, damage: Any, told: str) -> None:
    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")
    raw = (layout.root / "index.json").read_bytes()
    assert LayoutIndex.of_lines(raw, what="index").render() == raw

    with pytest.raises(StoreError, match=told):
        LayoutIndex.of_lines(damage(raw), what="index")


def test_an_entry_that_is_none_is_an_error_when_it_is_asked_for(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")
    raw = (layout.root / "index.json").read_bytes()

    index = LayoutIndex.of_lines(raw.replace(b'"size":', b'"size":-'), what="index")

    with pytest.raises(StoreError):
        _ = index.by_name


def test_a_name_is_found_without_reading_the_others_as_it_is_with_them(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    entries = [entry(one, "a:1"), entry(one, "a:1"), entry(two, "b:1"), entry(one, "b:1"), entry(one, "c:1")]
    index = LayoutIndex.parse(json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), what="index")

    found = [index.named(name) for name in ("a:1", "b:1", "c:1", "d:1", "not a name")]

    assert [len(each) for each in found] == [1, 2, 1, 0, 0]
    assert [index.by_name.get(name, ()) for name in ("a:1", "b:1", "c:1", "d:1")] == found[:4]
    assert [index.named(name) for name in ("a:1", "b:1", "c:1", "d:1", "not a name")] == found


def test_the_entries_of_a_large_index_are_nothing_that_a_collector_of_garbage_walks_through(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    lines = tuple(Entry.of(desc, f"team/digits:{number}").text for number in range(5000))
    raw = LayoutIndex({"schemaVersion": 2}, lines).render()
    gc.collect()
    before = len(gc.get_objects())

    index = LayoutIndex.of_lines(raw, what="index.json").tagged(desc, "team/more:1").untagged("team/digits:7")

    assert len(gc.get_objects()) - before < 1000
    assert index.resolve("team/more:1") == desc
    assert len(index.lines) == 5000
