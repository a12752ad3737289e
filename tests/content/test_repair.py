"""An index made again from the journal, the index before, and what lies among the blobs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.content.contract import push_blob, push_manifest
from tests.content.oracle import names_of_sound_layout

from mlkit.content.check import check
from mlkit.content.layout import Layout
from mlkit.content.repair import (
    Rebuilt,
    quarantined,
    rebuild,
    rebuilt,
    restore_lost,
    restore_marker,
    set_aside,
)
from mlkit.errors import StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import OCI_INDEX, PARTIAL


def old_journal(layout: Layout, *changes: tuple[str, Descriptor | None]) -> None:
    """Lines as versions wrote them that knew no entries and no digests of the index."""
    lines, known = [], dict[str, str | None]()
    for name, desc in changes:
        new = desc and str(desc.digest)
        lines.append(json.dumps({"time": "2023-11-14T22:13:20.000Z", "name": name, "old": known.get(name), "new": new}))
        known[name] = new
    (layout.root / ".mlkit" / "journal").write_text("\n".join(lines) + "\n")


def test_the_journal_says_who_changed_what(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "digits:1")

    (line,) = map(json.loads, (layout.root / ".mlkit" / "journal").read_bytes().splitlines())

    assert line["who"]["pid"] == os.getpid()
    assert set(line["who"]) == {"user", "host", "pid"}
    assert line["entry"]["digest"] == line["new"]


def test_an_index_is_rebuilt_from_a_journal_of_an_older_version(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    old_journal(layout, ("digits:1", one), ("digits:2", one), ("digits:1", two), ("digits:2", None))
    (layout.root / "index.json").unlink()

    done = rebuild(layout)

    assert done.names == 1
    assert names_of_sound_layout(layout.root) == {"digits:1": str(two.digest)}
    # That journal may not go back to the beginning: what no name reaches is kept too, without one.
    assert {desc.digest for desc in layout.manifests()} == {one.digest, two.digest}


def test_a_store_of_an_older_version_is_written_to_as_ever(layout: Layout) -> None:
    desc = push_manifest(layout, b"one").descriptor
    layout.tag(desc, "digits:1")
    old_journal(layout, ("digits:1", desc))

    layout.tag(desc, "digits:2")
    layout.tag(desc, "digits:3")

    assert set(layout.names()) == {"digits:1", "digits:2", "digits:3"}
    assert set(rebuilt(layout).by_name) == {"digits:1", "digits:2", "digits:3"}


def test_annotations_of_entries_come_back_with_them(layout: Layout) -> None:
    manifest = push_manifest(layout, b"one", b"unwanted")
    layout.tag(manifest.descriptor.with_annotations({PARTIAL: "true", "note": "kept"}), "digits:1")
    layout.record(push_manifest(layout, b"two").descriptor)
    before = layout.names(), layout.manifests()
    (layout.root / "index.json").write_bytes(b"{")

    rebuild(layout)

    assert (layout.names(), layout.manifests()) == before


def test_of_an_index_among_the_blobs_its_manifests_are_not_listed_again(layout: Layout) -> None:
    one = push_manifest(layout, b"one").descriptor
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one.render()]}
    push = push_blob(layout, json.dumps(index).encode())
    push_blob(layout, b'{"schemaVersion": 2, "but": "no manifest"}')
    push_blob(layout, b"{")

    found = rebuilt(layout)

    assert [entry.desc.digest for entry in found.entries if entry.desc] == [push.digest]


def test_a_sound_blob_is_never_put_aside(layout: Layout) -> None:
    desc = push_blob(layout, b"sound")

    assert set_aside(layout, desc.digest) is None
    assert set_aside(layout, Descriptor.of(b"absent", "x/y").digest) is None
    assert quarantined(layout) == (0, 0)
    assert layout.exists(desc)


def test_what_is_put_aside_twice_is_kept_twice(layout: Layout) -> None:
    desc = push_blob(layout, b"sound")
    for content in (b"soune", b"sounf"):
        path = layout.blobs.path(desc.digest)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        set_aside(layout, desc.digest)

    assert {path.read_bytes() for path in (layout.root / ".mlkit/quarantine").iterdir()} == {b"soune", b"sounf"}


@pytest.mark.parametrize("deep", [False, True])
def test_a_manifest_that_is_sound_and_none_is_told(layout: Layout, deep: bool) -> None:
    good = push_manifest(layout, b"one").descriptor
    bad = push_blob(layout, b'{"schemaVersion": 2}')
    layout.tag(good, "digits:1")
    index = json.loads((layout.root / "index.json").read_bytes())
    index["manifests"][0] |= {"digest": str(bad.digest), "size": bad.size}
    (layout.root / "index.json").write_text(json.dumps(index))

    (found,) = check(layout, deep=deep).found

    assert found.kind == "document"
    assert found.names == ("digits:1",)


def test_an_index_that_is_sound_is_left_alone(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "digits:1")
    before = (layout.root / "index.json").read_bytes()

    assert rebuild(layout) == Rebuilt(0, 0, None)

    assert (layout.root / "index.json").read_bytes() == before
    assert quarantined(layout) == (0, 0)


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"imageLayoutVersion": "9"}'], ids=["none", "empty", "cut", "9"]
)
def test_a_marker_is_written_again_and_what_was_there_is_kept(layout: Layout, content: bytes | None) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "digits:1")
    marker = layout.root / "oci-layout"
    marker.unlink()
    if content is not None:
        marker.write_bytes(content)

    restore_marker(layout)

    assert set(names_of_sound_layout(layout.root)) == {"digits:1"}
    kept = layout.root / ".mlkit/quarantine/oci-layout"
    assert quarantined(layout) == ((0, 0) if content is None else (1, len(content)))
    assert content is None or kept.read_bytes() == content


def test_what_another_program_wrote_over_is_put_back(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "digits:1")
    before = (layout.root / "index.json").read_bytes()
    layout.tag(push_manifest(layout, b"two").descriptor, "digits:2")
    (layout.root / "index.json").write_text(json.dumps(json.loads(before), indent=1))
    os.utime(layout.root / "index.json", (1_700_000_000, 1_700_000_000))

    restore_lost(layout)

    assert set(names_of_sound_layout(layout.root)) == {"digits:1", "digits:2"}
    assert check(layout).found == ()


def test_a_blob_that_another_program_is_just_writing_is_not_put_aside(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_blob(layout, b"sound")
    path = layout.blobs.path(desc.digest)
    path.chmod(0o644)
    path.write_bytes(b"")
    monkeypatch.setattr("mlkit.content.repair.time.sleep", lambda _: path.write_bytes(b"sound"))

    assert set_aside(layout, desc.digest) is None

    assert path.read_bytes() == b"sound"


def test_of_an_older_journal_names_of_manifests_that_are_gone_are_dropped(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    old_journal(layout, ("digits:1", one), ("digits:2", two))
    layout.delete_blob(two.digest)
    (layout.root / "index.json").unlink()

    assert rebuild(layout).names == 1
    assert set(names_of_sound_layout(layout.root)) == {"digits:1"}


def test_what_is_too_large_for_a_manifest_or_begins_like_one_is_listed_as_none(layout: Layout) -> None:
    push_blob(layout, b'{"schemaVersion": 2' + b" " * (4 << 20))
    push_blob(layout, b'{"a": "manifest"}')
    kit = push_manifest(layout, b"layer").descriptor
    (layout.root / ".mlkit/journal").unlink(missing_ok=True)
    (layout.root / "index.json").unlink()

    assert [entry.desc and entry.desc.digest for entry in rebuilt(layout).entries] == [kit.digest]


def test_a_change_that_was_noted_twice_is_made_once_more_from_its_first_note(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    layout.tag(one, "digits:1")
    # Two names change at once: two lines from one index to the next.
    index = json.loads((layout.root / "index.json").read_bytes())
    layout.tag(two, "digits:2")
    layout.unrecord(one)
    before = layout.names()
    assert index["manifests"]
    (layout.root / "index.json").write_bytes(b"")

    rebuild(layout)

    assert layout.names() == before == {"digits:2": layout.resolve("digits:2")}


def test_a_disk_that_is_full_keeps_the_marker_that_was_put_aside_and_no_half_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.root / "oci-layout").write_text("broken")
    write = os.write

    def full(file: int, content: object) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().name == "oci-layout.new":
            raise OSError(28, "No space left on device")
        return write(file, content)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(StoreError, match="no space left"):
        restore_marker(layout)

    assert not (layout.root / ".mlkit/oci-layout.new").exists()
    assert (layout.root / ".mlkit/quarantine/oci-layout").read_text() == "broken"
    monkeypatch.setattr(os, "write", write)
    restore_marker(layout)
    assert names_of_sound_layout(layout.root) == {}
