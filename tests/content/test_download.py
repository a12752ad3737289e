"""Large blobs from far away: what an interrupted run leaves is gone on with, and nothing broken becomes a blob."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.content.contract import blob, read
from tests.content.far import Far
from tests.content.oracle import tree
from tests.content.test_concurrency import at_once
from tests.content.test_ingest import fail_after, leftovers

from mlkit.content import partial_blob
from mlkit.content.layout import RESUMED_FROM, Layout
from mlkit.content.prune import prune
from mlkit.errors import DigestMismatch, IntegrityError, NetworkError, SizeMismatch, StoreError
from mlkit.spec.descriptor import Descriptor

forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

MIB = 1 << 20
SIZE = 24 * MIB
CONTENT = os.urandom(SIZE)
DESC = blob(CONTENT)


def part_of(layout: Layout, desc: Descriptor = DESC) -> Path:
    return layout.root / ".mlkit" / "ingest" / f"sha256-{desc.digest.hex}.part"


def interrupted(layout: Layout, at: int) -> Path:
    """What a pull leaves whose line dies after `at` bytes."""
    with pytest.raises(NetworkError):
        layout.push(DESC, Far(CONTENT, breaks_at=(at,)))
    return part_of(layout)


@contextmanager
def child(work: Callable[[], None]) -> Iterator[int]:
    """A process that does some work; its number."""
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield number
    finally:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)


def test_an_interrupted_download_goes_on_in_another_process_where_it_stopped(layout: Layout) -> None:
    at = 15 * MIB + 77

    assert interrupted(layout, at).stat().st_size == at

    again = Far(CONTENT)
    Layout.at(layout.root).push(DESC, again)
    assert again.opened == [(at, None)]
    assert again.told == [at]
    assert again.read_bytes == SIZE - at
    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []
    assert layout.blobs.path(DESC.digest).stat().st_mode & 0o777 == 0o444


@forks
def test_a_download_that_is_killed_again_and_again_loses_no_byte_that_had_arrived(layout: Layout) -> None:
    arrived = 0
    for stop in (6 * MIB, 13 * MIB, 21 * MIB):
        signals, ready = os.pipe()

        def work(stop: int = stop, ready: int = ready) -> None:
            def pause(position: int) -> None:
                if position >= stop:
                    os.write(ready, b"x")
                    time.sleep(60)

            Layout.at(layout.root).push(DESC, Far(CONTENT, on_read=pause))

        with child(work) as number:
            os.read(signals, 1)
            os.kill(number, signal.SIGKILL)
        os.close(signals)
        os.close(ready)
        assert part_of(layout).stat().st_size == stop
        arrived = stop

    last = Far(CONTENT)
    layout.push(DESC, last)
    assert last.opened == [(arrived, None)]
    assert read(layout, DESC) == CONTENT


@forks
def test_a_kill_at_any_step_of_a_download_leaves_what_the_next_one_can_use(tmp_path: Path) -> None:
    from tests.content.test_crash import every_crash_point

    content = CONTENT[: 9 * MIB]
    desc = blob(content)
    number = 0

    def here() -> Layout:
        return Layout.create(tmp_path / str(number))

    def reset() -> None:
        nonlocal number
        number += 1
        here()

    def judge() -> None:
        layout = here()
        if layout.blobs.size(desc.digest) is not None:
            assert layout.blobs.path(desc.digest).read_bytes() == content
        layout.push(desc, Far(content))
        assert read(layout, desc) == content
        assert leftovers(layout) == []

    assert every_crash_point(lambda: here().push(desc, Far(content)), judge, reset) > 10


def test_f10_a_poisoned_partial_is_dropped_and_everything_fetched_once_more(layout: Layout) -> None:
    part = interrupted(layout, 15 * MIB)
    with part.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"poison")
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == [(15 * MIB, None), (0, None)]
    assert again.told == [15 * MIB, 0, 0]
    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


def test_fault47_what_arrives_broken_is_fetched_once_more_and_kept_if_it_is_sound_then(layout: Layout) -> None:
    class Healing(Far):
        def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
            if self.opened:
                self.content = CONTENT
            return super().open(offset=offset)

    content = Healing(CONTENT[: 7 * MIB] + b"X" + CONTENT[7 * MIB + 1 :])

    layout.push(DESC, content)

    assert content.opened == [(0, None), (0, None)]
    assert read(layout, DESC) == CONTENT


@pytest.mark.parametrize("size", [5, RESUMED_FROM - 1, RESUMED_FROM, SIZE], ids=["small", "below", "from", "large"])
def test_what_arrives_broken_twice_is_refused_and_nothing_of_it_stays(layout: Layout, size: int) -> None:
    desc = blob(CONTENT[:size])
    content = Far(b"X" + CONTENT[1:size])
    before = tree(layout.root)

    with pytest.raises(DigestMismatch):
        layout.push(desc, content)

    assert content.opened == [(0, None), (0, None)]
    assert tree(layout.root) == before
    assert leftovers(layout) == []


@pytest.mark.parametrize("change", [-1, 1], ids=["shorter", "longer"])
def test_content_of_another_size_is_refused_and_nothing_of_it_stays(layout: Layout, change: int) -> None:
    content = Far((CONTENT + b"more")[: SIZE + change])

    with pytest.raises(SizeMismatch):
        layout.push(DESC, content)

    assert content.opened == [(0, None), (0, None)]
    assert leftovers(layout) == []


@pytest.mark.parametrize("size", [0, SIZE - 1 - MIB, SIZE, SIZE + 1, SIZE + 2048, SIZE + 5000], ids=str)
def test_a_partial_that_shrank_or_grew_never_spoils_the_blob(layout: Layout, size: int) -> None:
    part = interrupted(layout, SIZE - MIB)
    with part.open("r+b") as file:
        file.truncate(size)

    layout.push(DESC, Far(CONTENT))

    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


def test_a_download_that_was_whole_and_had_no_name_yet_asks_for_no_byte(layout: Layout) -> None:
    part = interrupted(layout, 15 * MIB)
    part.write_bytes(CONTENT)
    long_ago = time.time() - 5 * 24 * 3600
    os.utime(part, (long_ago, long_ago))
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == []
    assert read(layout, DESC) == CONTENT
    prune(layout, grace_seconds=3600, now=time.time())
    assert layout.exists(DESC), "its name may be about to come"


def link(part: Path) -> None:
    target = part.with_name("victim")
    target.write_bytes(b"not ours")
    part.symlink_to(target)


def second_name(part: Path) -> None:
    part.write_bytes(CONTENT[:MIB])
    part.chmod(0o600)
    os.link(part, part.parent.parent / "second-name")


def writable_by_others(part: Path) -> None:
    part.write_bytes(CONTENT[:MIB])
    part.chmod(0o666)


def foreign(part: Path) -> None:
    part.write_bytes(CONTENT[:MIB])
    part.chmod(0o600)
    try:
        os.chown(part, 4242, -1)
    except PermissionError:
        pytest.skip("only root can give a file away")


@pytest.mark.parametrize(
    "make", [link, second_name, writable_by_others, foreign, os.mkfifo, os.mkdir], ids=lambda make: make.__name__
)
def test_a_file_that_is_not_ours_is_neither_used_nor_touched(layout: Layout, make: Callable[[Path], None]) -> None:
    part = part_of(layout)
    part.parent.mkdir()
    make(part)
    before = os.lstat(part)
    content = Far(CONTENT)

    layout.push(DESC, content)

    assert content.opened == [(0, None)]
    assert read(layout, DESC) == CONTENT
    assert os.path.samestat(os.lstat(part), before)
    assert os.lstat(part).st_size == before.st_size
    victim = part.with_name("victim")
    assert not victim.exists() or victim.read_bytes() == b"not ours"


def test_two_at_once_fetch_one_blob_each_by_itself_and_both_succeed(layout: Layout) -> None:
    other = Layout.at(layout.root)
    inner = Far(CONTENT)

    def meanwhile(position: int) -> None:
        if position == 10 * MIB and not inner.opened:
            other.push(DESC, inner)
            assert part_of(layout).exists(), "the partial of the first is not the second's to delete"

    outer = Far(CONTENT, on_read=meanwhile)
    layout.push(DESC, outer)

    assert (outer.opened, inner.opened) == ([(0, None)], [(0, None)])
    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


@forks
def test_four_processes_that_fetch_one_blob_at_once_all_have_it(layout: Layout) -> None:
    interrupted(layout, 15 * MIB)

    def fetch(_: int) -> None:
        mine = Layout.at(layout.root)
        mine.push(DESC, Far(CONTENT))
        assert read(mine, DESC) == CONTENT

    at_once(4, fetch)

    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


def test_a_file_that_lost_its_name_before_we_had_its_lock_is_not_written_to(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = interrupted(layout, 15 * MIB)
    blob_by_now = layout.root / "blob-by-now"
    lock = partial_blob._is_locked

    def lock_after_rename(file: int) -> bool:
        part.rename(blob_by_now)
        return lock(file)

    monkeypatch.setattr(partial_blob, "_is_locked", lock_after_rename)

    layout.push(DESC, Far(CONTENT))

    assert blob_by_now.read_bytes() == CONTENT[: 15 * MIB]
    assert read(layout, DESC) == CONTENT


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write to a file without leave, as for everybody but root."""
    real = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_RDWR and os.path.lexists(path) and not os.lstat(path).st_mode & 0o200:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.usefixtures("ordinary")
def test_what_was_whole_and_frozen_when_its_process_died_is_gone_on_with(layout: Layout) -> None:
    part = interrupted(layout, SIZE - MIB)
    part.chmod(0o444)
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == [(SIZE - MIB, None)]
    assert read(layout, DESC) == CONTENT
    assert leftovers(layout) == []


@pytest.mark.usefixtures("ordinary")
def test_what_a_living_process_has_frozen_is_left_to_it(layout: Layout) -> None:
    part = interrupted(layout, SIZE - MIB)
    part.chmod(0o444)
    again = Far(CONTENT)

    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        layout.push(DESC, again)

    assert again.opened == [(0, None)]
    assert part.stat().st_mode & 0o777 == 0o444
    assert read(layout, DESC) == CONTENT


@pytest.mark.usefixtures("ordinary")
def test_a_frozen_file_that_became_a_blob_meanwhile_stays_read_only(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = interrupted(layout, SIZE - MIB)
    part.chmod(0o444)
    blob_by_now = layout.root / "blob-by-now"
    lock = partial_blob._is_locked

    def lock_after_rename(file: int) -> bool:
        if part.exists():
            part.rename(blob_by_now)
        return lock(file)

    monkeypatch.setattr(partial_blob, "_is_locked", lock_after_rename)

    layout.push(DESC, Far(CONTENT))

    assert blob_by_now.stat().st_mode & 0o777 == 0o444
    assert read(layout, DESC) == CONTENT


@pytest.mark.usefixtures("ordinary")
def test_a_frozen_file_of_two_names_is_not_thawed(layout: Layout, tmp_path: Path) -> None:
    part = interrupted(layout, SIZE - MIB)
    part.chmod(0o444)
    os.link(part, tmp_path / "second")

    layout.push(DESC, Far(CONTENT))

    assert (tmp_path / "second").stat().st_mode & 0o777 == 0o444
    assert read(layout, DESC) == CONTENT


def test_a_blob_that_somebody_else_finished_meanwhile_is_not_fetched_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(layout, 15 * MIB)
    take_over = layout.ingest_area._take_over

    def after_another(desc: Descriptor) -> object:
        part = take_over(desc)
        layout.blobs.make("sha256")
        layout.blobs.path(desc.digest).write_bytes(CONTENT)
        return part

    monkeypatch.setattr(layout.ingest_area, "_take_over", after_another)
    again = Far(CONTENT)

    layout.push(DESC, again)

    assert again.opened == []
    assert leftovers(layout) == []


@pytest.mark.parametrize("call", ["pwrite", "fsync", "fchmod", "rename", "preadv"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_fails_in_a_download_is_not_left_full(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    before = tree(layout.root)

    with monkeypatch.context() as patch:
        fail_after(patch, call, code, calls=9 if call in ("pwrite", "preadv") else 0)
        with pytest.raises(StoreError):
            layout.push(DESC, Far(CONTENT))

    assert tree(layout.root) == before
    assert leftovers(layout) == []
    layout.push(DESC, Far(CONTENT))
    assert read(layout, DESC) == CONTENT


def test_a_download_that_never_began_leaves_nothing(layout: Layout) -> None:
    with pytest.raises(NetworkError):
        layout.push(DESC, Far(CONTENT, breaks_at=(0,)))

    assert leftovers(layout) == []


def test_other_errors_of_integrity_keep_nothing_and_are_not_tried_again(layout: Layout) -> None:
    def refuse(position: int) -> None:
        if position:
            raise IntegrityError("the registry sent a body in an encoding which nobody asked for")

    content = Far(CONTENT, on_read=refuse)

    with pytest.raises(IntegrityError):
        layout.push(DESC, content)

    assert content.opened == [(0, None)]
    assert leftovers(layout) == []


def test_the_writers_that_follow_leave_unfinished_downloads_alone_for_a_week(layout: Layout) -> None:
    day = 24 * 3600
    now = 1_700_000_000  # what the clock of this layout says
    part = interrupted(layout, 15 * MIB)

    os.utime(part, (now, now - 6 * day))
    Layout.at(layout.root, clock=lambda: now).push(blob(b"next"), Far(b"next"))
    assert part.exists()

    os.utime(part, (now, now - 8 * day))
    with part.open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        Layout.at(layout.root, clock=lambda: now).push(blob(b"third"), Far(b"third"))
        assert part.exists(), "somebody is at work on it"
    Layout.at(layout.root, clock=lambda: now).push(blob(b"last"), Far(b"last"))
    assert not part.exists()
