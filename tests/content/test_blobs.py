"""Blobs as files: whole, sound and regular, or refused."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import blob, push_blob

from mlkit.content.layout import Layout
from mlkit.errors import IntegrityError, NotFoundError, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import OCTET_STREAM


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


def _failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


def test_a_disk_that_cannot_be_asked_is_not_taken_for_one_without_the_blob(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    desc = push_blob(layout, b"layer")
    _failing(monkeypatch, "lstat", errno.EIO)

    with pytest.raises(StoreError, match="Input/output error"):
        layout.blobs.size(desc.digest)


@pytest.mark.parametrize(
    ("number", "is_there"), [(errno.ENOENT, False), (errno.EROFS, True), (errno.EACCES, True), (errno.EPERM, True)]
)
def test_a_blob_that_cannot_be_touched_is_there_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int, is_there: bool
) -> None:
    desc = push_blob(layout, b"layer")
    _failing(monkeypatch, "utime", number)

    assert layout.blobs.touch(desc.digest) is is_there


def test_a_disk_that_fails_while_a_blob_is_touched_is_an_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    desc = push_blob(layout, b"layer")
    _failing(monkeypatch, "utime", errno.EIO)

    with pytest.raises(StoreError, match=desc.digest.hex):
        layout.blobs.touch(desc.digest)


def test_the_trouble_with_a_blob_is_told_by_its_kind(layout: Layout) -> None:
    sound, damaged, folder = (push_blob(layout, content) for content in (b"sound", b"damaged", b"folder"))
    layout.blobs.path(damaged.digest).chmod(0o644)
    layout.blobs.path(damaged.digest).write_bytes(b"DAMAGED")
    layout.blobs.path(folder.digest).unlink()
    layout.blobs.path(folder.digest).mkdir()

    assert layout.blobs.problem(sound.digest) is None
    assert layout.blobs.problem(damaged.digest) == ("damaged", f"its bytes are those of {_shown(b'DAMAGED')}")
    assert layout.blobs.problem(folder.digest) == ("misplaced", "in its place is something that is no regular file")
    with pytest.raises(NotFoundError):
        layout.blobs.problem(blob(b"absent").digest)


def test_who_is_stopped_while_it_hashes_tells_of_no_trouble(layout: Layout) -> None:
    desc = push_blob(layout, b"damaged")
    layout.blobs.path(desc.digest).chmod(0o644)
    layout.blobs.path(desc.digest).write_bytes(b"DAMAGED")
    stop = threading.Event()
    stop.set()

    assert layout.blobs.problem(desc.digest, stop) is None


def _shown(content: bytes) -> str:
    digest = blob(content).digest
    return f"{digest.algorithm}:{digest.short}"
