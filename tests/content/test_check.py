"""What a look at a layout finds: each kind of damage, with what it is about and who needs it."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import push_blob, push_manifest

from mlkit.content import check as check_module
from mlkit.content.blobs import Blobs
from mlkit.content.check import Found, check
from mlkit.content.layout import Layout
from mlkit.errors import NotFoundError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCI_INDEX, PARTIAL


def rewrite(layout: Layout, change: Callable[[dict[str, Any]], object]) -> None:
    """As another program changes the index."""
    index = json.loads((layout.root / "index.json").read_bytes())
    change(index)
    (layout.root / "index.json").write_text(json.dumps(index))


def spoil(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def kinds(layout: Layout, *, deep: bool = False) -> list[str]:
    return sorted(found.kind for found in check(layout, deep=deep).found)


def only(layout: Layout, *, deep: bool = False) -> Found:
    (found,) = check(layout, deep=deep).found
    return found


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_layout_is_counted_and_nothing_is_found(layout: Layout, deep: bool) -> None:
    kit = push_manifest(layout, b"layer").descriptor
    layout.tag(kit, "digits:1")
    layout.tag(kit, "digits:latest")

    looked = check(layout, deep=deep)

    assert (looked.found, looked.kits, looked.blobs) == ((), 1, 3)
    assert looked.hashed_bytes == (kit.size + len(b"layer") + len(b"{}") if deep else 0)


def test_a_marker_that_is_none_is_found_and_the_rest_is_looked_at(layout: Layout) -> None:
    kit = push_manifest(layout, b"layer")
    layout.tag(kit.descriptor, "digits:1")
    layout.blobs.path(kit.layers[0].digest).unlink()
    (layout.root / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')

    assert kinds(layout) == ["marker", "missing"]


def test_an_index_that_is_none_is_found_and_what_it_would_be_is_looked_at(layout: Layout) -> None:
    kit = push_manifest(layout, b"layer")
    layout.tag(kit.descriptor, "digits:1")
    spoil(layout.blobs.path(kit.layers[0].digest), b"")
    (layout.root / "index.json").write_text("{")

    looked = check(layout)

    assert sorted(found.kind for found in looked.found) == ["damaged", "index"]
    (damaged,) = [found for found in looked.found if found.kind == "damaged"]
    assert damaged.names == ("digits:1",)
    assert "has 0 bytes (expected 5)" in damaged.message


def test_names_that_are_none_are_told_and_names_given_twice_are_damage(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one").descriptor, push_manifest(layout, b"two").descriptor
    layout.tag(one, "digits:1")
    layout.tag(two, "digits:2")

    def rename(index: dict[str, Any]) -> None:
        for entry in index["manifests"]:
            entry["annotations"]["org.opencontainers.image.ref.name"] = "digits:1"
        index["manifests"].append({**one.render(), "annotations": {"org.opencontainers.image.ref.name": "\x1b[31m"}})

    rewrite(layout, rename)

    looked = {found.names: found for found in check(layout).found if found.kind == "name"}

    assert not looked[("\x1b[31m",)].is_damage
    assert looked[("\x1b[31m",)].message == r"index.json: '\x1b[31m' is not a name, and is ignored"
    assert looked[("digits:1",)].is_damage


def test_what_another_program_lost_is_found(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"one").descriptor, "digits:1")
    before = (layout.root / "index.json").read_bytes()
    layout.tag(push_manifest(layout, b"two").descriptor, "digits:2")
    (layout.root / "index.json").write_text(json.dumps(json.loads(before), indent=1))
    # At the time of the layout's own clock: what is older was taken away and not lost.
    os.utime(layout.root / "index.json", (1_700_000_000, 1_700_000_000))

    found = only(layout)

    assert (found.kind, found.names) == ("lost", ("digits:2",))


@pytest.mark.parametrize("which", ["layer", "manifest"])
@pytest.mark.parametrize(
    ("damage", "kind", "told"),
    [
        pytest.param(lambda path: path.unlink(), "missing", "is not here", id="gone"),
        pytest.param(lambda path: spoil(path, b"x"), "damaged", "has 1 bytes", id="short"),
        pytest.param(
            lambda path: (path.unlink(), path.symlink_to("x")), "misplaced", "no regular file", id="dangling-link"
        ),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "misplaced", "no regular file", id="folder"),
    ],
)
def test_a_blob_that_is_not_what_it_should_be_is_told_once_with_all_who_need_it(
    layout: Layout, damage: Callable[[Path], object], kind: str, told: str, which: str
) -> None:
    kit = push_manifest(layout, b"layer")
    layout.tag(kit.descriptor, "digits:1")
    layout.tag(kit.descriptor, "digits:2")
    desc = kit.layers[0] if which == "layer" else kit.descriptor
    damage(layout.blobs.path(desc.digest))

    for deep in (False, True):
        found = only(layout, deep=deep)

        assert (found.kind, found.desc, found.is_damage) == (kind, desc.bare if which == "manifest" else desc, True)
        assert found.names == ("digits:1", "digits:2")
        assert found.message.startswith(f"{'blob' if which == 'layer' else 'manifest'} sha256:{desc.digest.short}: ")
        assert told in found.message


def test_bytes_of_the_right_number_are_found_by_their_digest_alone(layout: Layout) -> None:
    kit = push_manifest(layout, b"layer")
    layout.tag(kit.descriptor, "digits:1")
    stray = push_blob(layout, b"stray")
    spoil(layout.blobs.path(kit.layers[0].digest), b"LAYER")
    spoil(layout.blobs.path(stray.digest), b"STRAY")

    assert kinds(layout) == []
    needed, unneeded = sorted(check(layout, deep=True).found, key=lambda found: not found.names)
    assert (needed.kind, needed.names) == ("damaged", ("digits:1",))
    assert (unneeded.kind, unneeded.names, unneeded.roots) == ("damaged", (), ())
    assert f"its bytes are those of sha256:{Digest.of(b'STRAY').short}" in unneeded.message


def test_a_manifest_with_other_bytes_is_damaged_and_a_sound_one_that_is_none_is_a_document(layout: Layout) -> None:
    kit = push_manifest(layout, b"layer").descriptor
    layout.tag(kit, "digits:1")
    path = layout.blobs.path(kit.digest)
    spoil(path, path.read_bytes().replace(b"layers", b"LAYERS"))
    told = only(layout)
    assert (told.kind, "its bytes are others" in told.message) == ("damaged", True)

    none = push_blob(layout, b'{"schemaVersion": 2, "mediaType": "x/y"}')
    rewrite(layout, lambda index: index["manifests"][0].update(digest=str(none.digest), size=none.size))
    told = only(layout)

    assert (told.kind, "is no manifest" in told.message, told.names) == ("document", True, ("digits:1",))


def test_a_manifest_that_the_disk_does_not_give_is_unreadable(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = push_manifest(layout, b"layer").descriptor
    layout.tag(kit, "digits:1")

    def broken(*_: Any, **__: Any) -> Any:
        raise StoreError("blobs/sha256/x: Input/output error")

    monkeypatch.setattr(check_module, "document", broken)

    found = only(layout)

    assert (found.kind, found.names) == ("unreadable", ("digits:1",))
    assert "cannot be read: blobs/sha256/x: Input/output error" in found.message


def test_a_blob_that_the_disk_does_not_give_is_unreadable_when_it_is_hashed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_blob(layout, b"stray")
    real = os.open

    def failing(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(desc.digest.hex):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", failing)

    found = only(layout, deep=True)

    assert (found.kind, found.desc and found.desc.digest) == ("unreadable", desc.digest)
    assert "Input/output error" in found.message


def test_a_blob_that_goes_while_it_is_looked_at_was_pruned(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    push_blob(layout, b"stray")

    def gone(*_: Any) -> Any:
        raise NotFoundError("not here any more")

    monkeypatch.setattr(Blobs, "problem", gone)

    assert kinds(layout, deep=True) == []


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_left_out_on_purpose_is_no_damage(layout: Layout, count: int) -> None:
    kit = push_manifest(layout, *(b"layer %d" % number for number in range(count)), b"kept")
    for layer in kit.layers[:count]:
        layout.blobs.path(layer.digest).unlink()
    layout.tag(kit.descriptor.with_annotations({PARTIAL: "true"}), "digits:1")

    for deep in (False, True):
        found = only(layout, deep=deep)

        assert (found.kind, found.names, found.is_damage) == ("partial", ("digits:1",), False)
        assert found.message.startswith("1 layer is" if count == 1 else "2 layers are")


def test_whole_under_one_name_is_whole_under_all(layout: Layout) -> None:
    kit = push_manifest(layout, b"layer")
    layout.tag(kit.descriptor.with_annotations({PARTIAL: "true"}), "digits:part")
    layout.tag(kit.descriptor, "digits:whole")
    rewrite(
        layout,
        # As an older version, or another program, leaves two entries that disagree, in either order.
        lambda index: index["manifests"].insert(
            0, {**index["manifests"][0], "annotations": {PARTIAL: "true", "org.opencontainers.image.ref.name": "x:1"}}
        ),
    )
    layout.blobs.path(kit.layers[0].digest).unlink()

    assert [found.kind for found in check(layout).found if found.kind != "lost"] == ["missing"]


def test_what_a_manifest_shares_is_looked_at_once_and_told_for_all(layout: Layout) -> None:
    one, two = push_manifest(layout, b"one", b"shared"), push_manifest(layout, b"two", b"shared")
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [one.descriptor.render(), one.descriptor.render()],
    }
    desc = push_blob(layout, json.dumps(index).encode())
    layout.tag(Descriptor(OCI_INDEX, desc.digest, desc.size), "digits:all")
    layout.tag(two.descriptor, "digits:two")
    layout.record(one.descriptor)
    layout.blobs.path(one.layers[1].digest).unlink()

    found = only(layout)

    assert set(found.names) == {"digits:all", "digits:two", str(one.descriptor.digest)}


def test_what_lies_among_the_blobs_and_is_none_is_told_only_under_the_name_of_one(layout: Layout) -> None:
    folder = layout.root / "blobs" / "sha256"
    (folder / "notes.txt").symlink_to("nowhere")
    (folder / ("0" * 64)).symlink_to("nowhere")
    (folder / ("1" * 64)).mkdir()
    os.mkfifo(folder / ("2" * 64))

    looked = check(layout, deep=True)

    assert [(found.kind, found.desc and found.desc.digest.hex[:1]) for found in looked.found] == [
        ("misplaced", "0"),
        ("misplaced", "1"),
        ("misplaced", "2"),
    ]
    assert looked.blobs == 0


def test_a_layout_without_a_folder_of_blobs_has_none(layout: Layout) -> None:
    for folder in (layout.root / "blobs").iterdir():
        folder.rmdir()

    assert check(layout, deep=True).blobs == 0


def test_an_interrupt_stops_the_hashing_of_all(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        push_blob(layout, b"%d" % number)
    asked: list[Digest] = []

    def interrupted(_: Blobs, digest: Digest, stop: threading.Event) -> None:
        asked.append(digest)
        if len(asked) == 1:
            raise KeyboardInterrupt
        assert stop.wait(20)

    monkeypatch.setattr(Blobs, "problem", interrupted)

    with pytest.raises(KeyboardInterrupt):
        check(layout, deep=True, threads=2)

    assert len(asked) <= 3


def test_entries_that_mlkit_cannot_check_are_no_damage(layout: Layout) -> None:
    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")
    other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha384:" + "0" * 96, "size": 3}
    rewrite(layout, lambda index: index["manifests"].append(other))

    looked = check(layout, deep=True)

    assert (looked.found, looked.kits) == ((), 1)
