"""What is deleted, what is not, and when nobody can tell."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from tests.content.contract import blob, push_blob, push_manifest
from tests.content.far import Far
from tests.content.oracle import tree

from mlkit.content.layout import Layout
from mlkit.content.prune import prune
from mlkit.content.storage import BytesContent
from mlkit.errors import NetworkError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.media_types import OCI_INDEX, PARTIAL

LATER = 10_000.0
"""Seconds from now, past any grace that these tests give."""


def prune_all(layout: Layout) -> set[Digest]:
    return set(prune(layout, grace_seconds=0, now=time.time() + LATER).removed)


def test_what_nothing_points_at_goes_and_the_rest_stays(layout: Layout) -> None:
    kept = push_manifest(layout, b"kept", b"shared").descriptor
    layout.tag(kept, "kept:1")
    gone = push_manifest(layout, b"gone", b"shared").descriptor
    stray = push_blob(layout, b"stray bytes")

    result = prune(layout, grace_seconds=3600, now=time.time() + LATER)

    assert set(result.removed) == {gone.digest, blob(b"gone").digest, stray.digest}
    assert result.freed_bytes == gone.size + 4 + 11
    assert layout.exists(blob(b"shared"))
    assert layout.exists(kept)
    assert prune_all(layout) == set()


def test_a_rehearsal_tells_the_same_and_deletes_nothing(layout: Layout) -> None:
    push_manifest(layout, b"gone")
    before = tree(layout.root)

    rehearsed = prune(layout, grace_seconds=0, now=time.time() + LATER, dry_run=True)

    assert tree(layout.root) == before
    assert prune(layout, grace_seconds=0, now=time.time() + LATER) == rehearsed


def test_fresh_blobs_are_spared(layout: Layout) -> None:
    desc = push_blob(layout, b"on its way to a tag")

    assert prune(layout, grace_seconds=3600, now=time.time() + 3000).removed == ()
    assert prune(layout, grace_seconds=3600, now=time.time() + 3000).young_bytes == desc.size
    assert prune(layout, grace_seconds=0, now=time.time() + 3000, dry_run=True).young_bytes == 0
    assert layout.exists(desc)


def test_an_old_blob_that_is_found_useful_again_is_spared(layout: Layout) -> None:
    asked, pushed, forgotten = (push_blob(layout, name) for name in (b"asked for", b"pushed again", b"forgotten"))
    for desc in (asked, pushed, forgotten):
        os.utime(layout.blobs.path(desc.digest), (1, 1))

    layout.exists(asked)
    push_blob(layout, b"pushed again")

    assert prune(layout, grace_seconds=3600, now=time.time()).removed == (forgotten.digest,)


def test_a_recorded_manifest_stays_until_its_record_goes(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.record(desc)

    assert prune_all(layout) == set()
    layout.unrecord(desc)
    assert desc.digest in prune_all(layout)


def test_a_referrer_without_a_name_goes_with_its_subject(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    note = push_manifest(layout, b"note", subject=subject).descriptor
    reply = push_manifest(layout, b"reply", subject=note).descriptor
    layout.tag(subject, "digits:1")
    assert prune_all(layout) == set()

    layout.untag("digits:1")

    assert {subject.digest, note.digest, reply.digest} <= prune_all(layout)
    assert layout.manifests() == ()


def test_a_referrer_with_a_name_stays_without_its_subject(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    note = push_manifest(layout, b"note", subject=subject).descriptor
    layout.tag(note, "notes:1")

    assert subject.digest in prune_all(layout)
    assert layout.resolve("notes:1").digest == note.digest
    assert layout.exists(blob(b"note"))


def test_a_fresh_referrer_may_wait_for_its_subject(layout: Layout) -> None:
    absent = blob(b"a manifest that is still on its way")
    note = push_manifest(layout, b"note", subject=absent).descriptor

    assert prune(layout, grace_seconds=3600, now=time.time()).removed == ()
    assert [desc.digest for desc in layout.manifests()] == [note.digest]


def test_an_index_keeps_its_manifests_and_may_lack_some(layout: Layout) -> None:
    inner = push_manifest(layout, b"layer").descriptor
    absent = Descriptor(inner.media_type, Digest.of(b"absent"), 6)
    raw = render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.render(), absent.render()]})
    root = Descriptor.of(raw, OCI_INDEX, {PARTIAL: "true"})
    layout.push(root, BytesContent(raw))
    layout.tag(root, "variants:1")

    assert prune_all(layout) == set()


def test_a_partial_kit_keeps_what_it_has(layout: Layout) -> None:
    manifest = push_manifest(layout, b"here", b"absent")
    layout.delete_blob(blob(b"absent").digest)
    layout.tag(manifest.descriptor.with_annotations({PARTIAL: "true"}), "digits:1")

    assert prune_all(layout) == set()


def test_nothing_is_pruned_while_a_manifest_is_missing(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    layout.delete_blob(desc.digest)

    with pytest.raises(StoreError, match=desc.digest.hex):
        prune_all(layout)

    assert layout.exists(blob(b"layer"))


def test_nothing_is_pruned_while_a_manifest_is_broken(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    path = layout.blobs.path(desc.digest)
    path.chmod(0o644)
    path.write_bytes(bytes(desc.size))

    with pytest.raises(StoreError, match=desc.digest.hex):
        prune_all(layout)

    assert layout.exists(blob(b"layer"))


def test_what_is_no_blob_is_left_alone(layout: Layout) -> None:
    folder = layout.root / "blobs" / "sha256"
    (folder / "README").write_text("mine")
    (folder / ("a" * 64)).mkdir()
    (layout.root / "blobs" / "blake3").mkdir()

    assert prune_all(layout) == set()
    assert sorted(path.name for path in folder.iterdir()) == ["README", "a" * 64]


def test_what_dead_writers_left_goes_too(layout: Layout) -> None:
    folder = layout.root / ".mlkit" / "ingest"
    folder.mkdir()
    (folder / "1-dead").write_bytes(b"half of a blob")

    prune(layout, grace_seconds=0, now=time.time(), dry_run=True)
    assert (folder / "1-dead").exists()
    prune(layout, grace_seconds=0, now=time.time())
    assert not (folder / "1-dead").exists()


def test_entries_that_mlkit_cannot_check_are_kept(layout: Layout) -> None:
    foreign = {"mediaType": "application/vnd.example", "digest": "blake3:af1349b9", "size": 3}
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign]}))

    prune_all(layout)

    assert json.loads((layout.root / "index.json").read_bytes())["manifests"] == [foreign]


def test_unfinished_downloads_outlive_seven_graces_and_those_of_the_living_any(layout: Layout) -> None:
    content = os.urandom(9 << 20)
    now = time.time()
    for name in (b"given up", b"fresh", b"living"):
        with pytest.raises(NetworkError):
            layout.push(blob(name + content), Far(name + content, breaks_at=(8 << 20,)))
    folder = layout.root / ".mlkit/ingest"
    parts = {name: folder / f"sha256-{blob(name + content).digest.hex}.part" for name in (b"given up", b"living")}
    for path in parts.values():
        os.utime(path, (now - 700, now - 700))

    with parts[b"living"].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = prune(layout, grace_seconds=100.1, now=now)
        rehearsed = prune(layout, grace_seconds=99.9, now=now, dry_run=True)
        result = prune(layout, grace_seconds=99.9, now=now)

    assert before.partials == ()
    assert rehearsed == result
    assert result.partials == (blob(b"given up" + content).digest,)
    assert result.freed_bytes >= 8 << 20
    assert len(list(folder.iterdir())) == 2


def test_where_no_store_was_made_yet_there_is_nothing_to_prune_and_none_is_made(tmp_path: Path) -> None:
    layout = Layout.open_or_new(tmp_path / "store")

    assert prune(layout, grace_seconds=0, now=time.time() + LATER).removed == ()
    assert not (tmp_path / "store").exists()


def test_an_entry_that_is_no_manifest_keeps_its_blob(layout: Layout) -> None:
    """As `oras push` of a single blob, or another tool, may list one."""
    desc, stray = push_blob(layout, b"listed"), push_blob(layout, b"stray")
    index = json.loads((layout.root / "index.json").read_bytes())
    index["manifests"] = [desc.render()]
    (layout.root / "index.json").write_text(json.dumps(index))

    assert prune_all(layout) == {stray.digest}
    assert layout.exists(desc)


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_nothing_is_pruned_while_a_manifest_without_a_name_cannot_be_read(layout: Layout, damage: str) -> None:
    kit = push_manifest(layout, b"layer").descriptor
    layout.record(kit)
    push_blob(layout, b"stray")
    path = layout.blobs.path(kit.digest)
    path.chmod(0o644)
    path.unlink() if damage == "missing" else path.write_bytes(b"{" + b" " * (kit.size - 1))
    before = tree(layout.root)

    with pytest.raises(StoreError, match="missing or damaged"):
        prune_all(layout)

    assert tree(layout.root) == before
