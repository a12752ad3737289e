"""Pushes and pulls over bad networks, with real registries at the other end (threats.md, rows 38 to 40 and 47).

A slice of the sizes runs always; `make soak` moves 1 GiB, with the chunks and the resets that users meet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.oracle import names_of_sound_layout
from tests.support.cli import CommandLine
from tests.support.docker_registry import docker_registry
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.http_pieces import header, with_header, without_header
from tests.support.scale import SCALE

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import DigestMismatch
from mlkit.server import RunningRegistry

MIB = 1 << 20
SIZE = 1024 * MIB if SCALE >= 20 else 16 * MIB
PART = SIZE // 16
"""What passes between one reset and the next; also the size of a chunk."""
BLOBS = "GET .*/blobs/.*"
UPLOADS = "(PATCH|PUT) .*/blobs/.*"

PROGRAM = """
import mlkit.registry.upload
mlkit.registry.upload.MONOLITHIC = mlkit.registry.upload.CHUNK = {chunk}
from mlkit.cli.main import run
run()
"""
"""The command line, with chunks of the slice's size."""

pytestmark = pytest.mark.soak


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """Nothing large stays: pytest keeps the folders of three runs."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(params=["embedded", "docker-registry", "distribution"])
def registry(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(registry: str, tmp_path: Path) -> Iterator[FaultProxy]:
    """Before an empty registry of each kind."""
    if registry == "embedded":
        with RunningRegistry(Layout.create(tmp_path / "registry")) as running, fault_proxy(running.host) as proxy:
            yield proxy
    else:
        with docker_registry(tmp_path / "registry", registry) as host, fault_proxy(host) as proxy:
            yield proxy


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are as small as the slice: nothing changes at full size."""
    monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", PART)
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", PART)
    monkeypatch.setattr("mlkit.registry.upload._CUT_LEAST", PART // 16)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with a kit of one large file."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "project").mkdir()
    (folder / "project" / "Kitfile").write_text(
        'manifestVersion: "1.0.0"\npackage: {name: large}\nmodel: {path: weights.bin}\n'
    )
    with (folder / "project" / "weights.bin").open("wb") as stream:
        for _ in range(SIZE // (8 * MIB)):
            stream.write(os.urandom(8 * MIB))
    with mlkit.session(home=folder / "store") as session:
        mlkit.pack(folder / "project", tag="large:1", session=session)
    yield folder / "store"
    shutil.rmtree(folder)


@pytest.fixture
def here(packed: Path) -> Iterator[Session]:
    with mlkit.session(home=packed, plain_http_hosts=("loopback",)) as session:
        yield session


@pytest.fixture
def pushed(proxy: FaultProxy, here: Session) -> str:
    """The reference of the kit in a registry that it went to undisturbed."""
    reference = f"{proxy.host}/team/large:1"
    mlkit.push("large:1", reference, session=here)
    proxy.forget()
    return reference


def check_pull(reference: str, other: Session, here: Session) -> None:
    """Pull into an empty store, and look at every byte of what came."""
    mlkit.pull(reference, session=other)

    digest = str(mlkit.inspect("large:1", session=here).digest)
    assert names_of_sound_layout(other.settings.home) == {reference: digest}


def check_push(proxy: FaultProxy, here: Session, other: Session) -> None:
    """Push to an empty registry, and pull what arrived over a network in which nothing is wrong."""
    reference = f"{proxy.host}/team/large:1"
    mlkit.push("large:1", reference, session=here)
    proxy.uploads.faults.clear()

    check_pull(reference, other, here)


@pytest.mark.parametrize("when", ["every", "age"])
def test_fault38_a_pull_goes_on_after_every_reset(
    proxy: FaultProxy, pushed: str, here: Session, other: Session, when: str
) -> None:
    fault = Fault("reset", **{when: PART})  # type: ignore[arg-type]  # one of its fields
    proxy.downloads.faults.append(fault)

    check_pull(pushed, other, here)

    # A large blob comes over several connections, which together reach fewer ages than the blob has parts.
    assert fault.struck >= (15 if when == "every" else 8)
    assert proxy.received <= 1.1 * SIZE


def test_a_push_goes_on_after_every_reset(
    registry: str, proxy: FaultProxy, here: Session, other: Session, chunks: None
) -> None:
    # docker-registry 2.8 forgets an upload that is cut inside a chunk: there, only what ends connections of an age can
    # be got round.
    age = "age" if registry == "docker-registry" else "every"
    fault = Fault("reset", **{age: PART})  # type: ignore[arg-type]  # one of its fields
    proxy.uploads.faults.append(fault)

    check_push(proxy, here, other)

    if registry == "docker-registry":
        # A cut costs the chunk that it was in, and is learned from: on a busy machine it takes one or two more.
        assert 1 <= fault.struck <= 3
        assert proxy.sent <= 1.01 * SIZE + fault.struck * PART
    else:
        assert fault.struck >= 15
        assert proxy.sent <= 1.1 * SIZE


@pytest.mark.parametrize("verb", ["pull", "push"])
def test_a_command_that_is_killed_half_way_and_given_again_moves_the_rest(
    registry: str, proxy: FaultProxy, packed: Path, tmp_path: Path, here: Session, other: Session, verb: str
) -> None:
    reference = f"{proxy.host}/team/large:1"
    if verb == "pull":
        mlkit.push("large:1", reference, session=here)
        proxy.forget()
    home = tmp_path / "other-store" if verb == "pull" else packed
    command = [sys.executable, "-c", PROGRAM.format(chunk=PART), verb, *(["large:1"] * (verb == "push")), reference]
    environ = {**CommandLine(tmp_path, tmp_path).environ, "MLKIT_HOME": str(home), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}

    proxy.downloads.rate = proxy.uploads.rate = SIZE
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as killed:
        while proxy.sent + proxy.received < SIZE / 2:
            assert killed.poll() is None, killed.stderr and killed.stderr.read()
            time.sleep(0.002)
        killed.kill()
    proxy.downloads.rate = proxy.uploads.rate = None
    done = subprocess.run(command, env=environ, capture_output=True, timeout=250, check=False)

    assert done.returncode == 0, done.stderr
    moved = proxy.sent + proxy.received
    check_pull(reference, other, here)
    if moved > 1.15 * SIZE and (verb, registry) == ("push", "docker-registry"):
        assert moved <= 1.6 * SIZE, "more than once over"
        pytest.xfail("release 2.8 forgets an upload that is cut inside a chunk, and the blob starts over")
    assert moved <= 1.15 * SIZE


def test_fault39_a_body_that_ends_early_and_never_said_how_long_it_is_arrives_whole(
    proxy: FaultProxy, pushed: str, here: Session, other: Session
) -> None:
    proxy.downloads.rewrite = lambda head: with_header(without_header(head, "Content-Length"), "Connection", "close")
    fault = Fault("truncate", every=PART * 3, on=BLOBS)
    proxy.downloads.faults.append(fault)

    check_pull(pushed, other, here)

    assert fault.struck >= 5
    assert proxy.received <= 1.1 * SIZE


def test_fault40_a_registry_without_ranges_sends_all_of_it_again(
    proxy: FaultProxy, pushed: str, here: Session, other: Session
) -> None:
    proxy.uploads.rewrite = lambda head: without_header(head, "Range")
    proxy.downloads.faults.append(Fault("truncate", at=PART, times=2, on=BLOBS))

    check_pull(pushed, other, here)

    assert [one.status for one in proxy.seen(BLOBS) if one.received > PART // 2] == [200] * 3


def test_a_flipped_bit_is_fetched_again(proxy: FaultProxy, pushed: str, here: Session, other: Session) -> None:
    proxy.downloads.faults.append(Fault("flip", every=MIB, times=1, on=BLOBS))

    check_pull(pushed, other, here)

    assert proxy.received >= 2 * SIZE


def test_a_bit_that_is_always_flipped_is_told_and_nothing_stays(
    proxy: FaultProxy, pushed: str, other: Session, tmp_path: Path
) -> None:
    proxy.downloads.faults.append(Fault("flip", every=MIB, on=BLOBS))

    with pytest.raises(DigestMismatch):
        mlkit.pull(pushed, session=other)

    assert names_of_sound_layout(tmp_path / "other-store") == {}
    assert proxy.received <= 2.1 * SIZE


def test_an_upload_with_a_flipped_bit_is_refused_and_sent_again(
    proxy: FaultProxy, here: Session, other: Session, chunks: None
) -> None:
    fault = Fault("flip", every=MIB, times=1, on=UPLOADS)
    proxy.uploads.faults.append(fault)

    check_push(proxy, here, other)

    assert fault.struck == 1


@pytest.mark.parametrize("shown", [-10, 10], ids=["too short", "too long"])
def test_a_length_that_lies_once_costs_no_more_than_a_connection(
    proxy: FaultProxy, pushed: str, here: Session, other: Session, shown: int
) -> None:
    lies = iter([True])

    def lie(head: bytes) -> bytes:
        length = int(header(head, "Content-Length") or 0)
        if length < SIZE or not next(lies, False):
            return head
        return with_header(with_header(head, "Content-Length", str(length + shown)), "Connection", "close")

    proxy.downloads.rewrite = lie

    check_pull(pushed, other, here)

    assert proxy.received <= 1.1 * SIZE


def test_a_long_and_narrow_line_in_slices_is_a_line(
    proxy: FaultProxy, here: Session, other: Session, chunks: None
) -> None:
    for way in (proxy.uploads, proxy.downloads):
        way.latency, way.rate, way.slice = 0.01, 4 * SIZE, 20_000

    check_push(proxy, here, other)
