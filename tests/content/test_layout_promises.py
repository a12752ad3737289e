"""What a layout promises where it is easily forgotten: its words, who is told, what is made when, and races."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import ARTIFACT, blob, push_blob, push_manifest
from tests.content.far import Far
from tests.content.oracle import tree

from mlkit.content.layout import RESUMED_FROM, Layout, check_marker
from mlkit.content.storage import BytesContent
from mlkit.errors import (
    DigestMismatch,
    IntegrityError,
    MlkitError,
    NotFoundError,
    SizeMismatch,
    StoreError,
)
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCI_MANIFEST, OCTET_STREAM

THEN = 1_700_000_000.0


def refusal(act: Callable[[], object], kind: type[MlkitError]) -> MlkitError:
    with pytest.raises(kind) as caught:
        act()
    return caught.value


def journal(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / ".mlkit/journal").read_text().splitlines()]


@pytest.mark.parametrize("opening", [Layout.create, Layout.open_or_new, Layout.at], ids=["create", "or new", "at"])
def test_the_clock_and_the_ear_that_are_given_are_used(opening: Callable[..., Layout], layout: Layout) -> None:
    warnings: list[str] = []
    manifest = push_manifest(layout, b"layer")
    opened = opening(layout.root, clock=lambda: THEN, warn=warnings.append)

    opened.tag(manifest.descriptor, "digits:1")
    stale = (layout.root / "index.json").read_bytes()
    opened.tag(manifest.descriptor, "digits:2")
    opened.untag("digits:1")
    # Another program, which knows of no lock, writes what it read before.
    (layout.root / "index.json").write_bytes(stale + b"\n")
    os.utime(layout.root / "index.json", (THEN + 1, THEN + 1))
    opened.tag(manifest.descriptor, "digits:3")

    assert journal(layout.root)[-1]["time"] == "2023-11-14T22:13:20.000Z"
    assert warnings == [
        "index.json was written by another program, which lost what was new: put back digits:1, digits:2"
    ]


@pytest.mark.parametrize("opening", [Layout.create, Layout.open_or_new], ids=["create", "or new"])
def test_a_new_layout_uses_them_too(
    opening: Callable[..., Layout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    opened = opening(tmp_path / "new", clock=lambda: THEN, warn=warnings.append)
    # A file system without locks.
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks available")))

    opened.tag(push_manifest(opened, b"layer").descriptor, "digits:1")

    assert journal(opened.root)[-1]["time"] == "2023-11-14T22:13:20.000Z"
    assert [warning.partition(":")[0] for warning in warnings] == [f"{tmp_path}/new/.mlkit"]


def test_files_of_control_lie_where_other_versions_of_mlkit_look_for_them(layout: Layout) -> None:
    with layout.ingest() as writer:
        writer.write(b"x")
        assert (layout.root / ".mlkit/ingest").is_dir()
    layout.record(push_manifest(layout, b"layer").descriptor)

    assert sorted(os.listdir(layout.root / ".mlkit")) == ["index.json.prev", "ingest", "journal", "lock"]


def test_what_is_asked_of_a_layout_that_is_not_made_yet_is_answered_and_makes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "a/b"
    layout = Layout.open_or_new(root)

    assert layout.is_absent
    assert (layout.names(), layout.manifests(), layout.findings()) == ({}, (), ())
    assert layout.state() == str(layout.index().digest)
    assert layout.find("digits:1") is None
    assert not layout.exists(blob(b"x"))
    assert list(layout.referrers(blob(b"x"))) == []
    assert os.listdir(tmp_path) == []

    layout.make()
    assert not layout.is_absent
    assert sorted(os.listdir(root)) == [".mlkit", "blobs", "index.json", "oci-layout"]
    assert layout.state() == str(Layout.at(root).index().digest)


def test_a_layout_is_made_by_its_first_write(tmp_path: Path) -> None:
    layout = Layout.open_or_new(tmp_path / "new")

    push_blob(layout, b"x")

    assert Layout.at(tmp_path / "new").exists(blob(b"x"))
    assert not layout.is_absent


def test_a_layout_that_somebody_else_makes_meanwhile_is_that_of_both(tmp_path: Path) -> None:
    first, second = Layout.open_or_new(tmp_path / "new"), Layout.open_or_new(tmp_path / "new")

    first.tag(push_manifest(first, b"layer").descriptor, "digits:1")

    assert not second.is_absent
    assert list(second.names()) == ["digits:1"]
    second.tag(push_manifest(second, b"other").descriptor, "digits:2")
    assert list(first.names()) == ["digits:1", "digits:2"]


@pytest.mark.parametrize("folder", [".mlkit", "blobs/sha256"])
def test_a_store_in_which_a_folder_cannot_be_made_is_named(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout.open_or_new(tmp_path / "store")
    real = os.mkdir

    def broken(path: Any, *rest: Any) -> None:
        if str(path).endswith(folder):
            raise OSError(5, "Input/output error")
        real(path, *rest)

    monkeypatch.setattr(os, "mkdir", broken)

    assert refusal(layout.make, StoreError).message == f"{tmp_path}/store: Input/output error"


@pytest.mark.parametrize("opening", [Layout.create, Layout.open_or_new, Layout.at], ids=["create", "or new", "at"])
def test_a_store_that_was_there_and_vanished_is_not_made_again(opening: Callable[..., Layout], layout: Layout) -> None:
    opened = opening(layout.root)
    shutil.rmtree(layout.root)

    for act in (lambda: push_blob(opened, b"x"), opened.make, opened.names):
        try:
            act()
        except StoreError:
            continue
    assert not layout.root.exists()


def test_a_blob_that_is_asked_for_is_touched_so_that_prune_spares_it(layout: Layout) -> None:
    desc = push_blob(layout, b"x")
    path = layout.blobs.path(desc.digest)
    layout.record(push_manifest(layout, b"layer").descriptor)
    os.utime(path, (1, 1))

    assert layout.exists(desc)

    assert path.stat().st_mtime > 1


def test_a_blob_that_prune_takes_meanwhile_does_not_exist(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    desc = push_blob(layout, b"x")
    monkeypatch.setattr(layout.blobs, "size", lambda _: 1)
    layout.blobs.path(desc.digest).unlink()

    assert not layout.exists(desc)


def test_a_layout_without_a_lock_is_looked_at_all_the_same(layout: Layout) -> None:
    desc = push_blob(layout, b"x")
    (layout.root / ".mlkit/lock").unlink()
    os.utime(layout.blobs.path(desc.digest), (1, 1))

    assert layout.exists(desc)
    # Without a lock no prune is at work, and nothing is written.
    assert layout.blobs.path(desc.digest).stat().st_mtime == 1


def test_a_file_is_handed_out_only_where_it_is_whole(layout: Layout) -> None:
    desc = push_blob(layout, b"0123456789")

    assert layout.path(desc) == layout.root / "blobs/sha256" / desc.digest.hex
    assert layout.path(Descriptor(OCTET_STREAM, desc.digest, 9)) is None
    assert layout.path(blob(b"absent")) is None
    assert (layout.blob_size(desc.digest), layout.blob_size(blob(b"absent").digest)) == (10, None)


def test_the_bytes_of_a_small_document_are_not_kept_in_the_index(layout: Layout) -> None:
    """A descriptor may carry its content as `data`; an index of twenty thousand names should not."""
    manifest = push_manifest(layout, b"layer")
    desc = Descriptor(OCI_MANIFEST, manifest.descriptor.digest, manifest.descriptor.size, data=manifest.raw)

    layout.tag(desc, "digits:1")

    assert b'"data"' not in (layout.root / "index.json").read_bytes()


def test_what_another_program_writes_in_place_is_waited_for(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = push_manifest(layout, b"layer")
    path = layout.blobs.path(manifest.descriptor.digest)
    path.chmod(0o644)
    path.write_bytes(b"")
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 5:
            path.write_bytes(manifest.raw)

    monkeypatch.setattr(time, "sleep", wait)
    layout.tag(manifest.descriptor, "digits:1")

    assert waited == [0.03] * 5
    path.write_bytes(b"")
    with pytest.raises(SizeMismatch):
        layout.tag(manifest.descriptor, "digits:2")
    assert len(waited) == 10


def test_what_arrives_broken_is_asked_for_once_more_from_its_first_byte(layout: Layout) -> None:
    desc = blob(b"0123456789")

    class Once(Far):
        def resumed(self, count: int) -> None:
            super().resumed(count)
            self.content = b"0123456789"

    for wrong in (b"0123456780", b"012345678", b"01234567890"):
        content = Once(wrong)
        layout.push(desc, content)
        assert content.told == [0]
        assert layout.raw(desc) == b"0123456789"
        layout.delete_blob(desc.digest)

    twice = Far(b"0123456780")
    with pytest.raises(DigestMismatch):
        layout.push(desc, twice)
    assert (twice.told, len(twice.opened)) == ([0], 2)
    assert not layout.exists(desc)


def test_of_content_that_never_ends_one_byte_too_many_is_read(layout: Layout) -> None:
    asked: list[int] = []

    class Endless:
        def read(self, size: int) -> bytes:
            assert size >= 0, "all of it is asked for"
            asked.append(size)
            return bytes(size)

    class Content:
        def open(self, *, offset: int = 0) -> Any:
            return nullcontext(Endless())

    assert refusal(lambda: layout.push(blob(bytes(10)), Content()), SizeMismatch)
    assert (sum(asked), asked[-1]) == (11, 1)


def test_near_content_that_is_broken_is_read_once(layout: Layout) -> None:
    error = refusal(lambda: layout.push(blob(b"012"), BytesContent(b"0123")), SizeMismatch)

    assert error.message == f"{blob(b'012').digest}: more than the expected 3 bytes"
    assert os.listdir(layout.root / ".mlkit/ingest") == []


@pytest.mark.parametrize("more", [0, 1], ids=["from eight megabytes on", "beyond"])
def test_large_content_from_far_away_is_taken_by_what_can_go_on_with_it(more: int, layout: Layout) -> None:
    content = os.urandom(1 << 20) * 8 + bytes(more)
    assert len(content) == RESUMED_FROM + more
    far, small = Far(content), Far(content[: RESUMED_FROM - 1])

    layout.push(blob(content), far)
    layout.push(blob(content[: RESUMED_FROM - 1]), small)

    # Who fetches in pieces says first what it has; who takes it whole asks for all.
    assert (far.told, small.told) == ([0], [])
    assert layout.exists(blob(content))


def referrers_of(layout: Layout, subject: Descriptor, **more: Any) -> list[Digest]:
    return [found.digest for found in layout.referrers(subject, **more)]


def test_a_referrer_that_cannot_be_read_is_told_of_and_hides_no_other(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    notes = [
        push_manifest(layout, b"note", subject=subject, artifact_type=ARTIFACT, annotations={"n": str(number)})
        for number in range(3)
    ]
    assert referrers_of(layout, subject) == [note.descriptor.digest for note in notes]
    layout.delete_blob(notes[1].descriptor.digest)
    told: list[tuple[Digest, type]] = []

    found = referrers_of(layout, subject, broken=lambda desc, error: told.append((desc.digest, type(error))))

    assert found == [notes[0].descriptor.digest, notes[2].descriptor.digest]
    assert told == [(notes[1].descriptor.digest, NotFoundError)]
    with pytest.raises(NotFoundError):
        referrers_of(layout, subject)
    # A fresh reader cannot tell what it refers to: it may be to this one.
    assert len(referrers_of(Layout.at(layout.root), subject, broken=lambda *_: None)) == 2


def test_what_was_broken_and_is_sound_again_is_judged_by_its_subject(layout: Layout) -> None:
    subject, other = push_manifest(layout, b"layer").descriptor, push_manifest(layout, b"other").descriptor
    unsure = push_manifest(layout, b"note", subject=other, artifact_type=ARTIFACT)
    plain = push_manifest(layout, b"plain")
    layout.record(plain.descriptor)
    note = push_manifest(layout, b"another", subject=subject, artifact_type=ARTIFACT)
    late = push_manifest(layout, b"the last", subject=subject, artifact_type=ARTIFACT)
    missing = [unsure, plain, late]
    for one in missing:
        layout.delete_blob(one.descriptor.digest)
    fresh = Layout.at(layout.root)
    assert referrers_of(fresh, subject, broken=lambda *_: None) == [note.descriptor.digest]

    for one in missing:
        path = fresh.blobs.path(one.descriptor.digest)
        path.write_bytes(one.raw)

    assert referrers_of(fresh, subject) == [note.descriptor.digest, late.descriptor.digest]
    assert referrers_of(Layout.at(layout.root), other) == [unsure.descriptor.digest]


def test_a_referrer_that_is_pushed_twice_is_recorded_once(layout: Layout) -> None:
    subject = push_manifest(layout, b"layer").descriptor
    note = push_manifest(layout, b"note", subject=subject)
    before = tree(layout.root)

    layout.push(note.descriptor, BytesContent(note.raw))

    assert tree(layout.root) == before


@pytest.mark.parametrize(
    ("marker", "told", "hint"),
    [
        (b"[]", "oci-layout: expected a JSON object, found list", "`mlkit fsck --repair` writes it again"),
        (b'{"imageLayoutVersion":"2.0.0"}', "", None),
        (b"{}", "", None),
        (b'{"imageLayoutVersion":"' + b"x" * 60 + b'"}', "", None),
    ],
    ids=["no document", "another version", "no version", "a long one"],
)
def test_a_folder_of_another_kind_is_told_as_such(marker: bytes, told: str, hint: str | None, layout: Layout) -> None:
    (layout.root / "oci-layout").write_bytes(marker)

    error = refusal(lambda: Layout.at(layout.root), StoreError)

    if told:
        assert error.message == f"{layout.root}/{told}"
    else:
        version = ascii(json.loads(marker).get("imageLayoutVersion"))[:50]
        assert error.message == f"{layout.root}: an OCI image layout of version {version} (expected '1.0.0')"
    assert error.hint == hint


def test_no_folder_is_told_as_such(tmp_path: Path) -> None:
    assert refusal(lambda: check_marker(tmp_path / "x"), StoreError).message == (
        f"{tmp_path}/x: no OCI image layout is there"
    )


@pytest.mark.parametrize("what", ["blobs", "names"])
def test_a_layout_that_lost_its_marker_is_not_made_anew_over_what_it_holds(what: str, layout: Layout) -> None:
    manifest = push_manifest(layout, b"layer")
    layout.tag(manifest.descriptor, "digits:1")
    (layout.root / "oci-layout").unlink()
    if what == "names":
        for path in (layout.root / "blobs/sha256").iterdir():
            path.unlink()
    else:
        (layout.root / "index.json").unlink()

    for act in (lambda: Layout.create(layout.root), lambda: Layout.open_or_new(layout.root)):
        error = refusal(act, StoreError)
        assert error.message == f"{layout.root}/oci-layout: is missing"
        assert error.hint == "`mlkit fsck --repair` puts it there again"


def test_what_is_no_regular_file_is_not_opened(layout: Layout, tmp_path: Path) -> None:
    desc = push_blob(layout, b"x")
    path = layout.blobs.path(desc.digest)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")

    assert not layout.exists(desc)
    with pytest.raises(IntegrityError), layout.open(desc) as stream:
        stream.read()
