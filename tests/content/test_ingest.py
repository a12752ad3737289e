"""Bytes on their way into a layout, on disks that fail."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.content.contract import blob, push_blob, push_manifest, read
from tests.content.oracle import names_of_sound_layout, tree

from mlkit.content import writeback
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.errors import DigestMismatch, SizeMismatch, StoreError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

BIG = 20 << 20
"""Bytes: enough for a second thread and for early write-back."""


class Dribble:
    """Content whose stream gives what a socket gives: a little at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self.content = content
        self.step = step

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        step = self.step

        class Stream(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                return super().readinto(memoryview(buffer)[:step])

        return Stream(self.content[offset:])


def fail_after(monkeypatch: pytest.MonkeyPatch, call: str, code: int, *, calls: int = 0) -> None:
    """Let a system call fail, after it has worked so many times."""
    real: Callable[..., Any] = getattr(os, call)
    left = calls

    def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left == 0:
            raise OSError(code, os.strerror(code))
        left -= 1
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)


def leftovers(layout: Layout) -> list[Path]:
    folder = layout.root / ".mlkit" / "ingest"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("step", [777, 65536, 3 << 20], ids=str)
def test_a_stream_may_come_in_pieces_of_any_size(layout: Layout, step: int) -> None:
    content = os.urandom(BIG if step > 1000 else 100_000)
    desc = blob(content)

    layout.push(desc, Dribble(content, step))

    assert read(layout, desc) == content
    assert leftovers(layout) == []


def test_writes_of_every_size_are_kept_in_order(layout: Layout) -> None:
    pieces = [os.urandom(size) for size in (0, 1, 1 << 20, 5, (1 << 20) - 5, 3 << 20, 7, (1 << 20) + 1, 12 << 20, 2)]

    with layout.ingest() as writer:
        for piece in pieces:
            writer.write(piece)
        digest, size = writer.commit()

    assert read(layout, Descriptor(OCTET_STREAM, digest, size)) == b"".join(pieces)


def test_many_files_are_copied_between_writes(layout: Layout, tmp_path: Path) -> None:
    expected = b""
    with layout.ingest() as writer:
        for number, size in enumerate((10, 0, 2 << 20, 100_000, 9 << 20, 3 << 20)):
            path = tmp_path / str(number)
            path.write_bytes(os.urandom(size))
            writer.write(b"head%d" % number)
            with path.open("rb", buffering=0 if number % 2 else -1) as source:
                writer.copy_from(source, size)
            expected += b"head%d" % number + path.read_bytes()
        digest, size = writer.commit()

    assert (digest, size) == (Digest.of(expected), len(expected))
    assert read(layout, Descriptor(OCTET_STREAM, digest, size)) == expected


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP], ids=errno.errorcode.get)
@pytest.mark.parametrize("calls", [0, 1], ids=["at-once", "later"])
def test_what_the_kernel_cannot_copy_is_copied_by_hand(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, calls: int
) -> None:
    content = os.urandom(40 << 20)
    (tmp_path / "source").write_bytes(content)
    fail_after(monkeypatch, "copy_file_range", code, calls=calls)

    with (tmp_path / "source").open("rb") as source, layout.ingest() as writer:
        writer.copy_from(source, len(content))
        digest, _ = writer.commit()

    assert digest == Digest.of(content)


def test_a_system_without_kernel_copies_and_hints_stores_the_same(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(BIG)
    (tmp_path / "source").write_bytes(content)
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    writeback._sync_file_range.cache_clear()

    with (tmp_path / "source").open("rb") as source, layout.ingest() as writer:
        writer.copy_from(source, len(content))
        digest, _ = writer.commit()
    writeback._sync_file_range.cache_clear()

    assert digest == Digest.of(content)


def test_a_big_file_that_ends_early_is_a_size_mismatch(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(BIG))

    with (
        (tmp_path / "source").open("rb") as source,
        layout.ingest() as writer,
        pytest.raises(SizeMismatch, match=f"{BIG} bytes"),
    ):
        writer.copy_from(source, BIG + 1)

    assert leftovers(layout) == []


def test_content_from_another_layout_is_verified_where_it_lands(layout: Layout, tmp_path: Path) -> None:
    other = Layout.create(tmp_path / "other")
    content = os.urandom(BIG)
    desc = push_blob(other, content)
    path = other.blobs.path(desc.digest)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(BIG // 2)
        file.write(b"flip")

    with pytest.raises(DigestMismatch):
        layout.push(desc, other_content(other, desc))

    assert not layout.exists(desc)
    assert leftovers(layout) == []


def other_content(store: Layout, desc: Descriptor) -> Any:
    class Stored:
        def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
            return store.open(desc, offset=offset)

    return Stored()


@pytest.mark.parametrize("size", [5, BIG], ids=["small", "big"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_full_disk_leaves_the_store_as_it_was(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, size: int, code: int
) -> None:
    content = os.urandom(size)
    before = tree(layout.root)

    with monkeypatch.context() as patch:
        fail_after(patch, "write", code, calls=10 if size == BIG else 0)
        with pytest.raises(StoreError, match=r"no space left for \d+ bytes") as caught:
            push_blob(layout, content)

    assert str(layout.root) in caught.value.message
    assert caught.value.hint is not None
    assert tree(layout.root) == before
    assert leftovers(layout) == []
    push_blob(layout, content)


def test_a_disk_that_fills_up_in_a_kernel_copy_leaves_the_store_as_it_was(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").write_bytes(bytes(40 << 20))
    fail_after(monkeypatch, "copy_file_range", errno.ENOSPC, calls=1)

    with (
        (tmp_path / "source").open("rb") as source,
        layout.ingest() as writer,
        pytest.raises(StoreError, match="no space left"),
    ):
        writer.copy_from(source, 40 << 20)

    assert leftovers(layout) == []


@pytest.mark.parametrize(
    ("call", "calls"), [("write", 0), ("write", 1), ("fsync", 0), ("fsync", 1), ("fsync", 2), ("replace", 0)]
)
def test_a_disk_that_fails_in_a_tag_leaves_index_and_journal_as_they_were(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, call: str, calls: int
) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    layout.tag(desc, "digits:1")
    before = tree(layout.root)
    journal = (layout.root / ".mlkit" / "journal").read_bytes()

    with monkeypatch.context() as patch:
        fail_after(patch, call, errno.ENOSPC, calls=calls)
        with pytest.raises(StoreError, match="no space left"):
            layout.tag(desc, "digits:2")

    assert tree(layout.root) == before
    assert (layout.root / ".mlkit" / "journal").read_bytes() == journal
    layout.tag(desc, "digits:2")
    assert set(names_of_sound_layout(layout.root)) == {"digits:1", "digits:2"}


@pytest.mark.parametrize(("call", "calls"), [("fsync", 3), ("replace", 1)])
def test_a_disk_that_fails_after_a_tag_is_told_of_and_index_and_journal_agree(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, call: str, calls: int
) -> None:
    desc = push_manifest(layout, b"layer").descriptor

    with monkeypatch.context() as patch:
        fail_after(patch, call, errno.EIO, calls=calls)
        with pytest.raises(StoreError, match="Input/output error"):
            layout.tag(desc, "digits:1")

    assert set(names_of_sound_layout(layout.root)) == {"digits:1"}
    assert len((layout.root / ".mlkit" / "journal").read_bytes().splitlines()) == 1


@pytest.mark.parametrize("size", [5, BIG], ids=["small", "big"])
@pytest.mark.parametrize("call", ["fsync", "rename", "fchmod"])
def test_a_disk_that_fails_in_a_commit_leaves_the_store_as_it_was(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, size: int, call: str
) -> None:
    before = tree(layout.root)

    with monkeypatch.context() as patch:
        fail_after(patch, call, errno.EIO)
        with pytest.raises(StoreError, match="Input/output error"):
            push_blob(layout, bytes(size))

    assert tree(layout.root) == before
    assert leftovers(layout) == []


def test_a_hash_thread_that_cannot_read_back_fails_the_write(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(monkeypatch, "preadv", errno.EIO, calls=2)

    with pytest.raises(StoreError, match="Input/output error"):
        push_blob(layout, bytes(BIG))

    assert leftovers(layout) == []


def test_a_file_system_without_fsync_is_put_up_with(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(monkeypatch, "fsync", errno.EINVAL)

    layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")

    assert set(names_of_sound_layout(layout.root)) == {"digits:1"}


def test_a_file_size_limit_is_an_error_and_no_death(layout: Layout, tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from mlkit.content.layout import Layout
        from mlkit.content.storage import BytesContent
        from mlkit.errors import StoreError
        from mlkit.spec.descriptor import Descriptor

        layout = Layout.create(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, 12 << 20))
        content = bytes(20 << 20)
        try:
            layout.push(Descriptor.of(content, "text/plain"), BytesContent(content))
        except StoreError as error:
            print(error.message)
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(layout.root)], capture_output=True, text=True, check=True
    )

    assert "larger than this system allows" in result.stdout
    assert result.stderr == ""
    assert not layout.exists(blob(bytes(BIG)))
    assert leftovers(layout) == []


def test_what_a_dead_writer_left_is_removed_and_a_living_ones_is_not(layout: Layout) -> None:
    folder = layout.root / ".mlkit" / "ingest"
    folder.mkdir()
    (folder / "1-dead").write_bytes(b"half of a blob")
    with (folder / "2-living").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)

        push_blob(Layout.at(layout.root), b"layer")

        assert [path.name for path in leftovers(layout)] == ["2-living"]
    assert layout.ingest_area.reap() == 0
    assert leftovers(layout) == []


def test_writers_of_one_layout_do_not_disturb_each_other(layout: Layout) -> None:
    with layout.ingest() as first:
        first.write(b"first")
        with Layout.at(layout.root).ingest() as second:
            second.write(b"second")
            layout.tag(push_manifest(layout, b"layer").descriptor, "digits:1")
            assert second.commit()[0] == Digest.of(b"second")
        assert first.commit()[0] == Digest.of(b"first")


def test_two_writers_of_the_same_content_both_succeed(layout: Layout) -> None:
    with layout.ingest() as first, layout.ingest() as second:
        first.write(b"same")
        second.write(b"same")

        assert first.commit() == second.commit()

    assert read(layout, blob(b"same")) == b"same"


def test_an_empty_push_of_what_is_there_reads_nothing(layout: Layout) -> None:
    desc = push_blob(layout, b"layer")

    class Untouchable(BytesContent):
        def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
            raise AssertionError("the store has this already")

    layout.push(desc, Untouchable(b""))


def test_a_blob_of_another_size_than_was_promised_is_none(layout: Layout) -> None:
    desc = Descriptor(OCTET_STREAM, blob(b"content").digest, 8)

    with layout.ingest_area.writer("sha256", size=8) as writer:
        writer.write(b"content")
        with pytest.raises(SizeMismatch, match=r"7 bytes \(expected 8\)"):
            writer.commit_as(desc)

    assert not layout.exists(blob(b"content"))
    assert list((layout.root / ".mlkit/ingest").iterdir()) == []


def test_what_is_no_file_among_what_is_written_is_neither_followed_nor_in_the_way(
    layout: Layout, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    folder = layout.root / ".mlkit/ingest"
    folder.mkdir(exist_ok=True)
    (folder / "1-0000000000000000").symlink_to(tmp_path / "precious")
    (folder / f"sha256-{'0' * 64}.part").symlink_to(tmp_path / "precious")
    (folder / "2-0000000000000000").mkdir()
    os.mkfifo(folder / "3-0000000000000000")

    layout.ingest_area.reap(partials_before=2**40)
    push_blob(layout, b"content")

    assert (tmp_path / "precious").read_text() == "precious"
    assert layout.ingest_area.abandoned(2**40) == ()
    assert layout.exists(blob(b"content"))


def test_a_file_that_goes_while_it_is_looked_at_is_no_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = layout.root / ".mlkit/ingest"
    folder.mkdir(exist_ok=True)
    partial = folder / f"sha256-{'0' * 64}.part"
    partial.write_text("x")
    lstat = Path.lstat

    def gone(path: Path) -> os.stat_result:
        if path == partial:
            raise FileNotFoundError(2, "No such file or directory")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", gone)

    assert layout.ingest_area.reap(partials_before=2**40) == 0


def test_a_folder_that_cannot_be_listed_is_an_error_of_the_store(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.root / ".mlkit/ingest").mkdir(exist_ok=True)

    def denied(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)

    with pytest.raises(StoreError, match="ingest"):
        push_blob(layout, b"content")


def test_a_file_that_cannot_be_locked_is_not_left_behind(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    push_blob(layout, b"before")
    flock = fcntl.flock

    def failing(file: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().parent.name == "ingest":
            raise OSError(errno.EIO, "Input/output error")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", failing)

    with pytest.raises(StoreError, match="Input/output error"):
        push_blob(layout, b"content")

    assert list((layout.root / ".mlkit/ingest").iterdir()) == []
