"""Private directories of runs: made, locked, and removed when their runs are dead, and only then."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlkit.archive.partial import Partial, reap


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def flock_that(*answers: Exception | None) -> Callable[[int, int], None]:
    """Answers in this order, the last one again and again; None is a lock that is had, or said to be."""
    left = list(answers)

    def flock(file: int, operation: int) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is not None:
            raise answer

    return flock


TAKEN = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
NO_LOCKS = OSError(errno.ENOLCK, "No locks available")


def test_a_private_directory_is_named_for_what_is_made_and_goes_without_a_trace(tmp_path: Path) -> None:
    before = descriptors()
    made = Partial.create(tmp_path, "out")
    assert made.name.startswith(".out.mlkit-partial-")
    assert (tmp_path / made.name).stat().st_mode & 0o777 == 0o700
    (tmp_path / made.name / "d").mkdir()
    (tmp_path / made.name / "d/file").write_text("x")

    made.remove()

    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")
def test_one_that_another_run_holds_already_is_left_to_it_and_another_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    monkeypatch.setattr(fcntl, "flock", flock_that(TAKEN, TAKEN, None))

    made = Partial.create(tmp_path, "out")

    assert len(list(tmp_path.iterdir())) == 3
    assert descriptors() == before + 3
    made.remove()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("when", ["before it is opened", "before it is locked", "after it is locked"])
def test_one_that_another_run_removes_as_a_dead_ones_is_made_again(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, flock, gone = os.open, fcntl.flock, list[str]()

    def take() -> None:
        if not gone:
            (name,) = os.listdir(tmp_path)
            gone.append(name)
            shutil.rmtree(tmp_path / name)

    def opened(path: Any, *rest: Any, **named: Any) -> int:
        if when == ("before it is locked" if path == "lock" else "before it is opened") and "dir_fd" in named:
            take()
        return real(path, *rest, **named)

    def locked(file: int, operation: int) -> None:
        flock(file, operation)
        if when == "after it is locked":
            take()

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(fcntl, "flock", locked)
    before = descriptors()

    made = Partial.create(tmp_path, "out")

    assert os.listdir(tmp_path) == [made.name]
    assert made.name not in gone
    made.remove()
    assert descriptors() == before


def test_where_none_can_be_locked_no_descriptor_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    monkeypatch.setattr(fcntl, "flock", flock_that(TAKEN))

    with pytest.raises(RuntimeError, match="could be locked"):
        Partial.create(tmp_path, "out")

    assert descriptors() == before


def test_where_nothing_can_be_written_no_descriptor_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    before = descriptors()
    monkeypatch.setattr(os, "mkdir", denied)

    with pytest.raises(PermissionError):
        Partial.create(tmp_path, "out")

    assert descriptors() == before


def test_without_locks_on_the_file_system_none_is_ever_taken_for_a_dead_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock_that(NO_LOCKS))
    made = Partial.create(tmp_path, "out")

    reap(tmp_path, "out")

    assert os.listdir(tmp_path) == [made.name]
    made.remove()


def test_where_locks_lie_none_is_taken_for_a_dead_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", flock_that(None))
    made = Partial.create(tmp_path, "out")

    reap(tmp_path, "out")

    assert os.listdir(tmp_path) == [made.name]
    made.remove()


def test_what_nobody_locks_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    dead = Partial.create(tmp_path, "out")
    (tmp_path / dead.name / "d").mkdir()
    for file in (dead.lock, dead.directory, dead.above):
        os.close(file)
    alive = Partial.create(tmp_path, "out")

    reap(tmp_path, "out")

    assert os.listdir(tmp_path) == [alive.name]
    alive.remove()


@pytest.mark.parametrize("mode", [0o755, 0o500, 0o770])
def test_what_others_may_write_or_we_may_not_is_none_of_ours(mode: int, tmp_path: Path) -> None:
    dead = Partial.create(tmp_path, "out")
    for file in (dead.lock, dead.directory, dead.above):
        os.close(file)
    (tmp_path / dead.name).chmod(mode)

    reap(tmp_path, "out")

    assert os.listdir(tmp_path) == [dead.name]


def test_a_place_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    reap(tmp_path / "absent", "out")
