"""The store's lock: on file systems where flock works, fails or lies, and when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import push_manifest
from tests.content.oracle import names_of_sound_layout
from tests.content.test_concurrency import at_once

from mlkit.content.layout import Layout
from mlkit.content.lock import StoreLock
from mlkit.content.lock_file import Holder, LockFile
from mlkit.errors import StoreError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def fails(*_: Any) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def lies(*_: Any) -> None:
    """As some FUSE and cluster file systems do."""


def test_fault26_a_writer_that_dies_with_the_lock_keeps_nobody_out(layout: Layout) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with layout.lock.exclusive():
            os.write(writing, b"held")
            time.sleep(600)
    os.read(reading, 4)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    layout.tag(desc, "digits:1")

    assert set(layout.names()) == {"digits:1"}


@pytest.mark.parametrize("flock", [fails, lies])
def test_fault27_where_flock_fails_or_lies_it_is_noticed_and_writers_still_exclude_one_another(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, flock: Any
) -> None:
    desc = push_manifest(layout, b"layer").descriptor
    monkeypatch.setattr(fcntl, "flock", flock)
    warnings: list[str] = []

    def tag(number: int) -> None:
        mine = Layout.at(layout.root)
        for turn in range(4):
            push_manifest(mine, b"%d %d" % (number, turn))
            mine.tag(desc, f"digits:{number}.{turn}")

    at_once(6, tag)
    Layout.at(layout.root, warn=warnings.append).tag(desc, "last:1")
    Layout.at(layout.root).tag(desc, "last:2")

    assert len(names_of_sound_layout(layout.root)) == 26
    assert len(warnings) == 1
    assert "does not lock files" in warnings[0]
    assert not (layout.root / ".mlkit" / "lock.held").exists()


def test_where_nothing_can_be_locked_a_temporary_file_is_somebodys_for_a_day(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lies)
    push_manifest(layout, b"layer")
    young, old = (layout.ingest_area.folder / name for name in ("1-young", "1-old"))
    for path, age in ((young, 3600), (old, 3 * 24 * 3600)):
        path.write_bytes(b"x")
        os.utime(path, (1_700_000_000 - age,) * 2)

    layout.ingest_area.reap()

    assert young.exists()
    assert not old.exists()


def test_a_lock_whose_flock_works_leaves_no_file_beside_it(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path / "lock")

    with lock.exclusive():
        assert lock.is_flock

    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_dead_process_of_this_machine_loses_the_lock_at_once(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        LockFile(tmp_path / "lock")._acquire()
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads((tmp_path / "lock").read_bytes())["pid"] == child

    with LockFile(tmp_path / "lock", silence=1e9).held():
        pass

    assert list(tmp_path.iterdir()) == []


LARGE_PID = {"host": os.uname().nodename, "boot": Holder.here().boot, "pid": 2**62, "started": "1"}


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b'{"pid": "1"}', json.dumps(LARGE_PID).encode(), None],
    ids=["empty", "junk", "odd", "no-pid", "another"],
)
def test_a_holder_of_whom_nothing_is_known_loses_the_lock_after_a_minute_without_a_beat(
    tmp_path: Path, content: bytes | None
) -> None:
    other = {"host": "another", "boot": "b", "pid": os.getpid(), "started": "1"}
    path = tmp_path / "lock"
    path.write_bytes(json.dumps(other).encode() if content is None else content)
    clock = [0.0]
    beats = [10.0, 30.0]

    def sleep(_: float) -> None:
        clock[0] += 1
        if clock[0] in beats:
            os.utime(path, (1, clock[0]))

    with LockFile(path, monotonic=lambda: clock[0], sleep=sleep).held():
        taken = clock[0]

    assert taken == pytest.approx(30 + 60, abs=2)


def test_a_lock_that_changed_hands_while_it_was_judged_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"the living")

    LockFile(path)._break(b"the dead")

    assert path.read_bytes() == b"the living"
    assert list(tmp_path.iterdir()) == [path]


def test_a_held_lock_beats(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with LockFile(path, beat=0.01).held():
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_threads_exclude_one_another(tmp_path: Path) -> None:
    lock, inside, most = LockFile(tmp_path / "lock"), [0], [0]

    def work() -> None:
        for _ in range(10):
            with lock.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]


def test_a_number_that_another_process_has_by_now_does_not_keep_the_dead_alive() -> None:
    me = Holder.here()

    assert not me.is_known_dead(me)
    assert Holder(me.host, me.boot, me.pid, "another start").is_known_dead(me)
    assert not Holder(me.host, "another boot", 1, "").is_known_dead(me)


def test_a_lock_is_given_back_where_no_thread_can_be_had_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)

    with pytest.raises(RuntimeError, match="can't start"), LockFile(tmp_path / "lock").held():
        pytest.fail("held without a beat")

    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_no_lock_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(StoreError, match="no space left"), LockFile(tmp_path / "lock").held():
        pytest.fail("held without a file")

    assert list(tmp_path.iterdir()) == []


def test_a_process_of_somebody_else_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    me = Holder.here()
    monkeypatch.setattr(os, "kill", denied)

    assert not Holder(me.host, me.boot, 1, "another start").is_known_dead(me)


def test_where_the_kernel_tells_nothing_nobody_is_known_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> str:
        raise FileNotFoundError(errno.ENOENT, "no /proc here")

    monkeypatch.setattr(Path, "read_text", nothing)
    me = Holder.here()

    assert (me.boot, me.started) == ("", "")
    assert not Holder(me.host, me.boot, 2**22 + 1, "").is_known_dead(me)
