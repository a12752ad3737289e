"""Pulls that are interrupted, by processes of their own and through a bad network."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import PROGRAM, CommandLine
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

MIB = 1 << 20
SIZE = 40 * MIB
SLACK = 64 * 1024
"""Bytes of heads and small documents."""


@pytest.fixture
def proxy(session: Session, tmp_path: Path) -> Iterator[FaultProxy]:
    """Before a registry that has `team/weights:1`, of one layer of 40 MiB and a little more."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "weights.safetensors").write_bytes(os.urandom(SIZE))
    with RunningRegistry(Layout.create(tmp_path / "registry")) as registry:
        reference = f"{registry.host}/team/weights:1"
        mlkit.pack(project, tag=reference, session=session)
        mlkit.push(reference, session=session)
        with fault_proxy(registry.host) as proxy:
            yield proxy


@pytest.fixture
def puller(tmp_path: Path) -> CommandLine:
    """A command line with an empty store."""
    home = tmp_path / "home"
    home.mkdir()
    return CommandLine(home, tmp_path)


def partials(puller: CommandLine) -> list[Path]:
    return sorted((puller.home / "store/.mlkit/ingest").glob("*"))


def killed_after(puller: CommandLine, proxy: FaultProxy, count: int, by: int = signal.SIGKILL) -> int:
    """A pull in a process of its own that is ended when so many bytes of the layer have come; how it ended."""
    stall = Fault("stall", at=count, times=1, on="GET .*/blobs/.*")
    proxy.downloads.faults.append(stall)
    command = [str(PROGRAM), "pull", f"{proxy.host}/team/weights:1", "--plain-http", "--quiet"]
    there = sum(path.stat().st_size for path in partials(puller))
    running = subprocess.Popen(command, env=puller.environ, cwd=puller.cwd)
    while not stall.struck or not any(path.stat().st_size >= there + count - MIB for path in partials(puller)):
        assert running.poll() is None, "the pull ended before it could be killed"
        time.sleep(0.01)
    running.send_signal(by)
    code = running.wait(60)
    proxy.downloads.faults.remove(stall)
    return code


def test_a_pull_that_is_killed_twice_fetches_no_byte_again_that_had_arrived(
    puller: CommandLine, proxy: FaultProxy
) -> None:
    killed_after(puller, proxy, 15 * MIB)
    killed_after(puller, proxy, 12 * MIB)

    pulled = puller.ok("pull", f"{proxy.host}/team/weights:1", "--plain-http", "--json").json

    assert 24 * MIB <= pulled["resumed_bytes"] <= 27 * MIB
    assert pulled["moved_bytes"] + pulled["resumed_bytes"] + pulled["present_bytes"] == pulled["size"]
    assert proxy.received <= 1.15 * SIZE
    assert partials(puller) == []


def test_a_pull_through_a_store_that_was_spoiled_meanwhile_starts_over_and_says_so(
    puller: CommandLine, proxy: FaultProxy
) -> None:
    killed_after(puller, proxy, 15 * MIB)
    (part,) = partials(puller)
    with part.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"spoiled")

    pulled = puller.ok("pull", f"{proxy.host}/team/weights:1", "--plain-http", "--json").json

    assert pulled["resumed_bytes"] == 0
    assert SIZE + 20 * MIB < pulled["moved_bytes"] < 2 * SIZE
    assert partials(puller) == []


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"])
def test_a_pull_that_is_interrupted_keeps_what_has_come(
    by: int, code: int, puller: CommandLine, proxy: FaultProxy
) -> None:
    assert killed_after(puller, proxy, 15 * MIB, by) == code

    pulled = puller.ok("pull", f"{proxy.host}/team/weights:1", "--plain-http", "--json").json

    assert pulled["resumed_bytes"] >= 13 * MIB
    assert proxy.received <= 1.15 * SIZE


def test_a_pull_that_goes_on_says_so(puller: CommandLine, proxy: FaultProxy) -> None:
    killed_after(puller, proxy, 15 * MIB)

    told = puller.ok("pull", f"{proxy.host}/team/weights:1", "--plain-http").stderr

    assert "gone on after 1" in told


def test_doctor_and_prune_know_of_a_pull_that_was_killed(puller: CommandLine, proxy: FaultProxy) -> None:
    killed_after(puller, proxy, 15 * MIB)

    found = {finding["name"]: finding for finding in puller.ok("doctor", "--json").json}
    kept = puller.ok("prune", "--json").json
    rehearsed = puller.ok("prune", "--grace", "0", "--dry-run", "--json").json
    freed = puller.ok("prune", "--grace", "0", "--json").json

    assert found["downloads"]["detail"].startswith("1 unfinished")
    assert kept["partials"] == []
    assert len(freed["partials"]) == 1
    assert freed == {**rehearsed, "dry_run": False}
    assert freed["freed_bytes"] >= 14 * MIB
    assert partials(puller) == []


def test_a_corrupting_proxy_costs_a_second_fetch_and_nothing_more(
    session: Session, other: Session, proxy: FaultProxy
) -> None:
    proxy.downloads.faults.append(Fault("flip", at=30 * MIB, times=1, on="GET .*/blobs/.*"))

    pulled = mlkit.pull(f"{proxy.host}/team/weights:1", session=other)

    assert pulled.moved_bytes == pulled.size + SIZE
    assert proxy.received <= 2 * SIZE + SLACK + MIB
    assert mlkit.info(f"{proxy.host}/team/weights:1", session=other).digest == pulled.digest
