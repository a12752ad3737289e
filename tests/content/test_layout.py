"""A layout as a folder that others read and write too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import blob, push_blob, push_manifest
from tests.content.oracle import names_of_sound_layout, tree

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent, FileBacked, Ingestor
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError, StoreError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_MANIFEST, OCTET_STREAM, PARTIAL, REF_NAME


def index_of(layout: Layout) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((layout.root / "index.json").read_bytes())
    return value


def write_index(layout: Layout, value: object) -> None:
    (layout.root / "index.json").write_text(json.dumps(value))


def entry(desc: Descriptor, name: str) -> dict[str, Any]:
    return desc.with_annotations({REF_NAME: name}).render()


def test_a_new_layout_is_what_the_specification_says(layout: Layout) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert index_of(layout) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
    assert (layout.root / "blobs" / "sha256").is_dir()
    assert isinstance(layout, Ingestor)
    assert isinstance(layout, FileBacked)


def test_making_a_layout_again_changes_nothing(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")
    before = tree(layout.root)

    again = Layout.create(layout.root)

    assert tree(layout.root) == before
    assert list(again.names()) == ["digits:1"]


def test_a_layout_is_made_with_its_parents_beside_what_lies_there(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    (root / "config.toml").write_text("mine")

    Layout.create(root)

    assert (root / "config.toml").read_text() == "mine"


def test_where_no_layout_is_none_is_found_and_none_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no OCI image layout"):
        Layout.at(tmp_path / "nothing")

    assert not (tmp_path / "nothing").exists()


def test_names_of_every_kind_are_kept_with_the_annotations_of_their_entry(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    names = ["1.0", "digits:1.2", "registry.example/team/digits:1.2", "localhost:5000/a/b:latest", "[::1]:5000/a:b"]

    for name in names:
        layout.tag(desc.with_annotations({"note": name}), name)

    found = Layout.at(layout.root).names()
    assert {name: dict(item.annotations) for name, item in found.items()} == {name: {"note": name} for name in names}
    assert {item.digest for item in found.values()} == {desc.digest}
    assert names_of_sound_layout(layout.root) == {name: str(desc.digest) for name in names}


@pytest.mark.parametrize(
    "name", ["", "a b:1", "../../x", "x:", "UPPER/case:1", "a" * 300, "a:b\n", "-x", "host.example/:1"]
)
def test_what_is_no_name_cannot_be_tagged(layout: Layout, name: str) -> None:
    desc = push_manifest(layout, b"layer").descriptor

    with pytest.raises(UsageError, match="is not a name"):
        layout.tag(desc, name)

    assert layout.names() == {}


def test_an_entry_tells_the_artifact_type_of_its_manifest(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer", artifact_type="application/vnd.example")

    layout.tag(manifest.descriptor.bare, "digits:1")

    assert layout.names()["digits:1"].artifact_type == "application/vnd.example"


def test_a_tag_needs_every_blob_and_names_the_one_that_is_missing(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer", b"gone")
    layout.delete_blob(blob(b"gone").digest)
    before = tree(layout.root)

    with pytest.raises(NotFoundError, match=blob(b"gone").digest.hex):
        layout.tag(manifest.descriptor, "digits:1")
    with pytest.raises(NotFoundError, match=blob(b"gone").digest.hex):
        layout.record(manifest.descriptor)

    assert tree(layout.root) == before


def test_a_blob_of_another_length_counts_as_missing(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer")
    path = layout.blobs.path(blob(b"layer").digest)
    path.chmod(0o644)
    path.write_bytes(b"")

    assert not layout.exists(blob(b"layer"))
    with pytest.raises(NotFoundError):
        layout.tag(manifest.descriptor, "digits:1")

    push_blob(layout, b"layer")
    layout.tag(manifest.descriptor, "digits:1")


def test_a_partial_kit_says_so_until_it_is_whole(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer", b"unwanted")
    layout.delete_blob(blob(b"unwanted").digest)
    partial = manifest.descriptor.with_annotations({PARTIAL: "true"})

    layout.tag(partial, "digits:1")
    layout.tag(partial, "digits:2")
    assert layout.resolve("digits:1").annotations == {PARTIAL: "true"}

    push_blob(layout, b"unwanted")
    layout.tag(manifest.descriptor, "digits:1")
    assert [dict(desc.annotations) for desc in layout.names().values()] == [{}, {}]


def test_a_partial_kit_needs_its_manifest(layout: Layout) -> None:
    absent = render_manifest(config=blob(b"x"), layers=()).descriptor

    with pytest.raises(NotFoundError):
        layout.tag(absent.with_annotations({PARTIAL: "true"}), "digits:1")


def test_a_name_can_be_taken_away(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    layout.tag(desc, "digits:2")

    assert layout.untag("digits:1").digest == desc.digest

    assert list(layout.names()) == ["digits:2"]
    with pytest.raises(NotFoundError, match="digits:1"):
        layout.untag("digits:1")


def test_a_record_keeps_a_manifest_without_a_name(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor

    layout.record(desc)
    layout.record(desc)

    assert layout.names() == {}
    assert [item.digest for item in layout.manifests()] == [desc.digest]
    assert layout.resolve(str(desc.digest)).bare == desc.bare


def test_dropping_a_record_drops_all_names_of_the_manifest(layout: Layout) -> None:
    kept, gone = push_manifest(layout, b"kept").descriptor, push_manifest(layout, b"gone").descriptor
    layout.tag(kept, "kept:1")
    layout.tag(gone, "gone:1")
    layout.record(gone)

    layout.unrecord(gone)

    assert [item.digest for item in layout.manifests()] == [kept.digest]


def test_a_manifest_that_only_lies_there_resolves_by_its_digest(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer", artifact_type="application/vnd.example").descriptor

    assert layout.resolve(str(desc.digest)) == desc


def test_a_blob_that_is_no_manifest_does_not_resolve(layout: Layout) -> None:
    layer = push_blob(layout, b"weights")
    large = push_blob(layout, bytes((4 << 20) + 1))

    for desc in (layer, large):
        with pytest.raises(NotFoundError):
            layout.resolve(str(desc.digest))


def test_a_manifest_with_a_sha512_digest_is_stored_and_found(layout: Layout) -> None:
    config = push_blob(layout, b"{}")
    raw = render_manifest(config=config, layers=()).raw
    hasher = Digest("sha512", "").hasher()
    hasher.update(raw)
    desc = Descriptor(OCI_MANIFEST, Digest.finished(hasher), len(raw))

    layout.push(desc, BytesContent(raw))
    layout.tag(desc, "digits:1")

    assert (layout.root / "blobs" / "sha512" / desc.digest.hex).read_bytes() == raw
    assert layout.resolve("digits:1").digest == desc.digest
    layout.untag("digits:1")
    assert layout.resolve(str(desc.digest)).digest == desc.digest


def test_a_whole_referrer_is_recorded_when_it_is_pushed(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    note = push_manifest(layout, b"note", subject=subject).descriptor

    assert [item.digest for item in layout.manifests()] == [note.digest]


def test_a_referrer_that_is_not_whole_is_stored_and_not_listed(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    note = render_manifest(config=Descriptor.of(b"{}", OCI_EMPTY), layers=(blob(b"absent"),), subject=subject)

    layout.push(note.descriptor, BytesContent(note.raw))

    assert layout.exists(note.descriptor)
    assert layout.manifests() == ()


def test_documents_are_read_whole_and_no_more_than_four_megabytes_of_them(layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer")
    large = push_blob(layout, bytes((4 << 20) + 1))

    assert layout.raw(manifest.descriptor) == manifest.raw
    with pytest.raises(LimitError):
        layout.raw(large)


def test_files_and_sizes_of_blobs_are_known(layout: Layout) -> None:
    desc = push_blob(layout, b"layer")

    assert layout.blob_size(desc.digest) == 5
    assert layout.path(desc) == layout.root / "blobs" / "sha256" / desc.digest.hex
    assert layout.path(Descriptor(OCTET_STREAM, desc.digest, 4)) is None
    assert layout.delete_blob(desc.digest)
    assert not layout.delete_blob(desc.digest)
    assert layout.blob_size(desc.digest) is None
    assert layout.path(desc) is None


def test_blobs_are_read_only_on_disk(layout: Layout) -> None:
    path = layout.path(push_blob(layout, b"layer"))

    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o444


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


@pytest.mark.parametrize("failing", ["open for writing", "touch"])
def test_a_store_that_cannot_be_written_can_be_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    manifest = push_manifest(layout, b"layer")
    layout.tag(manifest.descriptor, "digits:1")
    before = tree(layout.root)
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *rest, **named)

    def no_touch(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(os, "utime", no_touch)

    reader = Layout.at(layout.root)
    assert reader.exists(blob(b"layer"))
    assert reader.raw(reader.resolve("digits:1")) == manifest.raw
    assert list(reader.referrers(manifest.descriptor)) == []
    for attempt in (lambda: reader.tag(manifest.descriptor, "digits:2"), lambda: push_blob(reader, b"more")):
        with pytest.raises(StoreError, match="cannot be written"):
            attempt()
    assert tree(layout.root) == before


def test_reading_a_layout_of_another_tool_leaves_no_trace(layout: Layout, tmp_path: Path) -> None:
    manifest = push_manifest(layout, b"layer")
    layout.tag(manifest.descriptor, "1.0")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("oci-layout", "index.json", "blobs"):
        (layout.root / name).rename(foreign / name)

    other = Layout.at(foreign)
    assert other.exists(blob(b"layer"))
    assert other.raw(other.resolve("1.0")) == manifest.raw
    assert not (foreign / ".mlkit").exists()

    other.tag(manifest.descriptor, "2.0")
    assert set(names_of_sound_layout(foreign)) == {"1.0", "2.0"}


def test_a_store_that_vanished_is_not_made_again(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.root.rename(layout.root.with_name("moved"))

    for attempt in (lambda: push_blob(layout, b"more"), lambda: layout.tag(desc, "digits:1"), layout.names):
        with pytest.raises(StoreError):
            attempt()

    assert not layout.root.exists()


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda path: path.symlink_to("/etc/hostname"), id="link"),
        pytest.param(lambda path: path.symlink_to(path), id="loop"),
        pytest.param(Path.mkdir, id="folder"),
        pytest.param(os.mkfifo, id="pipe"),
    ],
)
def test_b21_only_a_regular_file_is_a_blob(layout: Layout, place: Any) -> None:
    desc = push_blob(layout, b"layer")
    layout.blobs.path(desc.digest).unlink()
    place(layout.blobs.path(desc.digest))

    for offset in (0, 2):
        with pytest.raises(IntegrityError, match="not a regular file"):
            layout.open(desc, offset=offset)
    assert not layout.exists(desc)
    assert layout.path(desc) is None


def test_a_link_in_the_place_of_a_blob_is_replaced_by_a_push(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    desc = blob(b"layer")
    layout.blobs.path(desc.digest).symlink_to(tmp_path / "outside")

    push_blob(layout, b"layer")

    assert layout.exists(desc)
    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_a_hard_link_of_the_wrong_content_is_found_out(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"LAYER")
    desc = blob(b"layer")
    layout.blobs.path(desc.digest).hardlink_to(tmp_path / "other")

    with pytest.raises(IntegrityError), layout.open(desc) as stream:
        stream.read()


@pytest.mark.parametrize("size", [1, 5, 100_000], ids=str)
def test_a_flipped_bit_is_found_wherever_it_is(layout: Layout, size: int) -> None:
    content = os.urandom(size)
    desc = push_blob(layout, content)
    path = layout.blobs.path(desc.digest)
    path.chmod(0o644)

    for position in {0, size // 2, size - 1}:
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=desc.digest.hex), layout.open(desc) as stream:
            stream.read(size)


def test_a_disk_that_cannot_be_read_is_no_tampering(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    desc = push_blob(layout, b"layer")

    with layout.open(desc, offset=1) as stream:
        os.close(stream.fileno())
        replacement = os.open(layout.root, os.O_RDONLY)
        try:
            with pytest.raises(StoreError, match=desc.digest.hex):
                stream.read()
        finally:
            assert replacement == stream.fileno()
