"""A process may die at any moment: the layout is sound whatever it did last, and the work can be done again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import push_manifest
from tests.content.oracle import names_of_sound_layout
from tests.support.scale import SCALE

from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.prune import prune

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

MUTATING = (
    "open",
    "write",
    "pwrite",
    "ftruncate",
    "truncate",
    "fchmod",
    "fsync",
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "utime",
)


def dies_at(step: int, action: Callable[[], None]) -> bool:
    """Run `action` in a child that is killed before its mutating call number `step`; whether it came so far."""
    child = os.fork()
    if child == 0:
        left = step

        def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return call

        for name in MUTATING:
            setattr(os, name, wrapped(getattr(os, name)))
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def every_crash_point(action: Callable[[], None], judge: Callable[[], None], reset: Callable[[], None]) -> int:
    """Kill `action` at each of its steps in turn and ask `judge` after each; the number of steps."""
    step = 0
    is_killed = True
    while is_killed:
        step += 1
        reset()
        is_killed = dies_at(step, action)
        judge()
    return step


def test_a_kill_at_any_step_of_a_push_leaves_old_tags_whole_and_the_rerun_succeeds(tmp_path: Path) -> None:
    source = MemoryStore()
    old = push_manifest(source, b"old layer").descriptor
    new = push_manifest(source, b"old layer", b"new layer", os.urandom(1 << 20)).descriptor
    root = tmp_path / "store"
    number = 0

    def reset() -> None:
        nonlocal root, number
        number += 1
        root = tmp_path / f"store-{number}"
        layout = Layout.create(root)
        copy(source, layout, old, concurrency=1)
        layout.tag(old, "digits:1")

    def push() -> None:
        layout = Layout.at(root)
        copy(source, layout, new, concurrency=1)
        layout.tag(new, "digits:1")

    def judge() -> None:
        assert names_of_sound_layout(root)["digits:1"] in (str(old.digest), str(new.digest))
        push()
        assert names_of_sound_layout(root) == {"digits:1": str(new.digest)}
        assert list((root / ".mlkit" / "ingest").iterdir()) == []

    assert every_crash_point(push, judge, reset) > 30


def test_a_kill_at_any_step_of_making_a_layout_leaves_one_that_can_be_made(tmp_path: Path) -> None:
    number = 0

    def reset() -> None:
        nonlocal number
        number += 1

    def judge() -> None:
        assert Layout.create(tmp_path / str(number)).names() == {}

    assert every_crash_point(lambda: prepare(tmp_path / str(number)), judge, reset) > 10


def prepare(root: Path) -> None:
    Layout.create(root)


def test_a_kill_at_any_step_of_a_prune_leaves_every_tag_whole(tmp_path: Path) -> None:
    root = tmp_path / "store"
    number = 0

    def reset() -> None:
        nonlocal root, number
        number += 1
        root = tmp_path / f"store-{number}"
        layout = Layout.create(root)
        layout.tag(push_manifest(layout, b"kept", b"shared").descriptor, "kept:1")
        gone = push_manifest(layout, b"gone", b"shared").descriptor
        push_manifest(layout, b"note", subject=gone)

    def sweep() -> None:
        prune(Layout.at(root), grace_seconds=0, now=time.time() + 10)

    def judge() -> None:
        assert set(names_of_sound_layout(root)) == {"kept:1"}
        sweep()
        assert set(names_of_sound_layout(root)) == {"kept:1"}
        assert len(list((root / "blobs" / "sha256").iterdir())) == 4

    assert every_crash_point(sweep, judge, reset) > 5


@pytest.mark.soak
def test_a_writer_that_is_killed_at_a_random_moment_is_cleaned_up_after(tmp_path: Path) -> None:
    root = tmp_path / "store"
    layout = Layout.create(root)

    for round_number in range(3 * SCALE):
        source = MemoryStore()
        manifest = push_manifest(source, os.urandom(10 << 20)).descriptor
        child = os.fork()
        if child == 0:
            copy(source, Layout.at(root), manifest, concurrency=2)
            os._exit(0)
        time.sleep(0.004 * (round_number % 10))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        again = Layout.at(root)
        copy(source, again, manifest)
        again.tag(manifest, f"digits:{round_number}")

    assert len(names_of_sound_layout(root)) == 3 * SCALE
    assert list((layout.root / ".mlkit" / "ingest").iterdir()) == []
