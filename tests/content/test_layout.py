"""A layout as a store: names, records, partial kits, referrers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import blob, push_blob, push_manifest
from tests.content.oracle import names_of_sound_layout, tree

from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent, FileBacked, Ingestor
from mlkit.errors import LimitError, NotFoundError, StoreError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_MANIFEST, PARTIAL


def test_a_new_layout_is_what_the_specification_says(layout: Layout) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.root / "index.json").read_bytes()) == {
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


def test_b23_a_manifest_with_a_sha512_digest_is_stored_and_found(layout: Layout) -> None:
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


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_fault28_a_store_that_vanishes_under_a_run_is_an_error_and_not_made_again(layout: Layout, how: str) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    with layout.ingest() as writer:
        writer.write(b"on its way")
        if how == "renamed":
            layout.root.rename(layout.root.with_name("moved"))
        else:
            shutil.rmtree(layout.root)

        for attempt in (
            writer.commit,
            lambda: push_blob(layout, b"more"),
            lambda: layout.tag(desc, "digits:1"),
            layout.names,
        ):
            with pytest.raises(StoreError) as caught:
                attempt()
            assert caught.value.exit_code == 10

    assert not layout.root.exists()
