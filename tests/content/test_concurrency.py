"""Many processes at one layout."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.content.contract import push_manifest
from tests.content.oracle import names_of_sound_layout
from tests.support.scale import SCALE

from mlkit.content.layout import Layout
from mlkit.content.prune import prune
from mlkit.errors import NotFoundError

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Run `work` in so many processes that begin together. Fails where one of them does."""
    gate_out, gate_in = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(gate_in)
            os.read(gate_out, 1)
            status = 1
            try:
                work(number)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(gate_out)
    os.close(gate_in)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


def test_fault22_thirty_two_processes_that_tag_at_once_lose_nothing(layout: Layout) -> None:
    """A hundred rounds in `make soak`."""
    desc = push_manifest(layout, b"layer").descriptor
    rounds = 2 if SCALE == 1 else 100

    def tag(number: int) -> None:
        for turn in range(rounds):
            Layout.at(layout.root).tag(desc, f"digits:{number}.{turn}")

    at_once(32, tag)

    assert set(layout.names()) == {f"digits:{number}.{turn}" for number in range(32) for turn in range(rounds)}
    assert len(names_of_sound_layout(layout.root)) == 32 * rounds
    assert len((layout.root / ".mlkit" / "journal").read_bytes().splitlines()) == 32 * rounds


def test_eight_processes_that_make_and_fill_one_layout_agree(tmp_path: Path) -> None:
    root = tmp_path / "store"

    def fill(number: int) -> None:
        layout = Layout.create(root)
        manifest = push_manifest(layout, b"shared" * 100_000, b"own %d" % number, bytes(9 << 20))
        layout.tag(manifest.descriptor, f"digits:{number}")

    at_once(8, fill)

    assert len(names_of_sound_layout(root)) == 8
    assert list((root / ".mlkit" / "ingest").iterdir()) == []


def test_a_prune_without_grace_never_breaks_a_tag(layout: Layout) -> None:
    """The hardest case: a writer may lose blobs before its tag, and is told; what is tagged is whole."""

    def work(number: int) -> None:
        mine = Layout.at(layout.root)
        for turn in range(12 * SCALE):
            if number == 0:
                prune(mine, grace_seconds=0, now=time.time() + 10)
                continue
            try:
                manifest = push_manifest(mine, b"shared", b"%d %d" % (number, turn % 2))
                mine.tag(manifest.descriptor, f"digits:{number}")
                if turn % 3 == 0:
                    mine.untag(f"digits:{number}")
            except NotFoundError:
                continue

    at_once(4, work)

    names_of_sound_layout(layout.root)


@pytest.mark.timeout(1200)
def test_fault25_a_prune_with_grace_never_takes_from_a_writer(layout: Layout) -> None:
    """Ten minutes in `make soak`."""
    until = time.monotonic() + (1 if SCALE == 1 else 600)

    def work(number: int) -> None:
        mine, turn, before = Layout.at(layout.root), 0, None
        while time.monotonic() < until:
            turn += 1
            if number == 0:
                prune(mine, grace_seconds=3600, now=time.time())
                continue
            manifest = push_manifest(mine, b"shared", b"%d %d" % (number, turn))
            mine.tag(manifest.descriptor, f"digits:{number}")
            # What has lost its name looks old, and goes while the others are at work.
            for digest in () if before is None else (before.descriptor.digest, before.layers[1].digest):
                with suppress(FileNotFoundError):
                    os.utime(mine.blobs.path(digest), (1, 1))
            before = manifest

    at_once(4, work)

    assert set(names_of_sound_layout(layout.root)) == {"digits:1", "digits:2", "digits:3"}
    prune(layout, grace_seconds=0, now=time.time() + 10)
    assert len(list(layout.blobs.listing())) == 3 * 2 + 2
