"""Clocks that are wrong, disks that lie, stores that two hosts share (threats.md, faults 49, 53 and 55)."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.crash.conftest import World, make_world
from tests.support.cli import PROGRAM
from tests.support.crash.machine import Machine, tracing
from tests.support.reference_docs import ROOT
from tests.support.tools import find_tool

from mlkit.content.lock_file import Holder, LockFile


@pytest.mark.parametrize("clock", ["-10y", "+10y", "@2029-01-01 00:00:00 x1000"])
def test_fault49_a_clock_that_is_wrong_or_runs_away_changes_no_kit_and_no_signature(world: World, clock: str) -> None:
    faketime = find_tool("faketime")
    if faketime is None:
        pytest.skip("faketime is not installed")
    world.ok("keygen", "-o", "key", "--no-password")
    digest = world.ok("pack", "project", "-t", "digits:now", "--quiet").stdout
    # Timers stay monotonic: only what a wrong clock of the machine changes is changed.
    environ = {**world.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}

    def run(*arguments: str) -> str:
        command = [str(faketime), "-f", clock, str(PROGRAM), *arguments]
        done = subprocess.run(
            command, env=environ, cwd=world.root, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    assert run("pack", "project", "-t", "digits:then", "--quiet") == digest
    run("sign", "digits:then", "--key", "key.key")
    run("verify", "digits:now", "--key", "key.pub")
    world.ok("verify", "digits:then", "--key", "key.pub")
    run("prune")
    assert set(world.names()) == {"digits:now", "digits:then"}


def test_fault53_two_hosts_at_one_store_are_kept_apart_and_documented(tmp_path: Path) -> None:
    """Writing from several hosts is not supported; what can be done by a lock file is done all the same."""
    told = (ROOT / "docs/reference/reliability.md").read_text(encoding="utf-8")
    assert "several hosts" in told
    inside, most = [0], [0]

    def host(name: str) -> None:
        lock = LockFile(tmp_path / "lock", holder=lambda: Holder(name, name, 1, "1"))
        for _ in range(5):
            with lock.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=host, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_fault55_everything_is_made_durable_before_anything_points_at_it(tmp_path: Path, tracer: Machine) -> None:
    """A disk that drops what it said it had kept cannot be simulated without a device of our own: the order itself is
    looked at, which is all that any program can do about such a disk.
    """
    world = make_world(tmp_path / "world", tracer)
    world.ok("pack", "project", "-t", "digits:1")
    (world.project / "data" / "train.csv").write_bytes(os.urandom(5000))

    trace = world.run("pack", "project", "-t", "digits:2", strace=tracing()).trace

    synced: set[str] = set()
    written: set[str] = set()
    blobs, index = f"{world.store}/blobs/sha256", f"{world.store}/index.json"
    renamed = []
    for line in trace.splitlines():
        if found := re.search(r" (?:write|pwrite64|copy_file_range)\(.*?<([^>]+)>", line):
            written.add(found[1])
            synced.discard(found[1])
        elif found := re.search(r" f(?:data)?sync\(\d+<([^>]+)>\) += 0", line):
            synced.add(found[1])
        elif found := re.search(r' rename\w*\([^"]*"([^"]+)"[^"]*"([^"]+)"', line):
            source, target = found.groups()
            if target.startswith(blobs):
                assert source in synced, f"{target} has its name before its bytes are durable"
                synced.discard(blobs)
                renamed.append(target)
            if target == index:
                assert source in synced
                assert blobs in synced, "the index points at blobs whose names are not durable"
                assert f"{world.store}/.mlkit/journal" in synced
                synced.discard(str(world.store))
                renamed.append(target)
    assert len(renamed) >= 4
    assert renamed[-1] == index
    assert str(world.store) in synced, "the index is replaced for good before the command ends"
