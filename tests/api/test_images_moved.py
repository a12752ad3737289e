"""What moves when an image is built: each byte once, and what is there already not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmarks.measure import peak_bytes
from tests.support.base_images import Base, tar, write_base
from tests.support.cli import PROGRAM
from tests.support.images import FILES, MIB, build, pack_kit
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.api.session import Session


@pytest.fixture
def kit(session: Session, tmp_path: Path) -> str:
    return pack_kit(session, tmp_path / "project")


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as running:
        yield running


@pytest.fixture
def base(session: Session, tmp_path: Path, registry: SimulatedRegistry) -> str:
    """A base with a large layer, in the registry."""
    folder = write_base(tmp_path / "base", Base((tar({"big": os.urandom(MIB)}),)))
    pack_kit(session, tmp_path / "other", {"docs/a.md": b"a"}, kitfile="docs: [{path: docs}]\n", tag="docs:1")
    build(session, "docs:1", f"oci:{folder}", f"{registry.host}/library/base:1", filters=["docs"])
    return f"{registry.host}/library/base:1"


def test_the_layers_of_a_base_in_the_same_registry_are_mounted(
    session: Session, kit: str, base: str, registry: SimulatedRegistry
) -> None:
    before = len(registry.requests)

    built = build(session, kit, base, f"{registry.host}/team/tiny:1")

    asked = registry.requests[before:]
    mounted = {request.query["mount"] for request in asked if request.query.get("from") == "library/base"}
    assert mounted == {digest for digest, raw in registry.repositories["library/base"].blobs.items() if raw[:1] != b"{"}
    fetched = [one.line for one in asked if one.method == "GET" and "/library/base/blobs/" in one.path]
    assert len(fetched) == 1  # the config
    assert registry.repositories["team/tiny"].tags == {"1": str(built.digest)}


def test_the_layers_of_a_base_in_another_registry_pass_through(
    session: Session, kit: str, base: str, registry: SimulatedRegistry
) -> None:
    with simulated_registry() as other:
        built = build(session, kit, base, f"{other.host}/team/tiny:1")
        again = build(session, kit, base, f"{other.host}/team/tiny:2")

        assert other.repositories["team/tiny"].tags == {"1": str(built.digest), "2": str(built.digest)}
    assert built.moved_bytes == built.size
    assert again.moved_bytes == 0


def test_a_fresh_machine_reads_and_does_not_send_what_the_tag_has(
    session: Session, other: Session, kit: str, registry: SimulatedRegistry, tmp_path: Path
) -> None:
    build(session, kit, "scratch", f"{registry.host}/team/tiny:1")
    changed = {**FILES, "model/b.safetensors": b"other" * 400_000}
    pack_kit(other, tmp_path / "changed", changed, tag="tiny:1.3")
    before = registry.received_bytes()

    built = build(other, "tiny:1.3", "scratch", f"{registry.host}/team/tiny:1")

    assert 2_000_000 < registry.received_bytes() - before < 2_020_000
    assert built.moved_bytes < 2_020_000
    assert built.replaced is not None


def test_a_kit_that_is_only_in_a_registry_streams_through(
    session: Session, other: Session, kit: str, registry: SimulatedRegistry
) -> None:
    mlkit.push(kit, f"{registry.host}/team/kit:1.2", session=session)

    built = build(other, f"{registry.host}/team/kit:1.2", "scratch", f"{registry.host}/team/tiny:1")

    assert registry.repositories["team/tiny"].tags == {"1": str(built.digest)}
    assert not (other.settings.home / "blobs").exists()


def test_a_layer_of_the_kit_that_fits_is_mounted_from_the_kit(
    session: Session, other: Session, registry: SimulatedRegistry, tmp_path: Path
) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: m, path: models}\n"
    files = {"models/a.bin": os.urandom(MIB), "models/b.bin": os.urandom(10)}
    kit = pack_kit(session, tmp_path / "project", files, kitfile=kitfile, layers="tar")
    mlkit.push(kit, f"{registry.host}/team/kit:1.2", session=session)
    before = registry.received_bytes()

    built = build(other, f"{registry.host}/team/kit:1.2", "scratch", f"{registry.host}/team/tiny:1")

    assert [layer.is_reused for layer in built.layers] == [True, False]
    assert registry.received_bytes() - before < 10_000


@pytest.mark.parametrize("kind", ["registry", "layout", "archive"])
def test_a_build_that_is_killed_leaves_no_image_and_can_be_given_again(
    session: Session, registry: SimulatedRegistry, tmp_path: Path, kind: str
) -> None:
    files = {f"model/{number}.bin": os.urandom(4 * MIB) for number in range(4)}
    kit = pack_kit(session, tmp_path / "project", files, kitfile="model: {name: m, path: model}\n")
    places = {
        "registry": f"{registry.host}/team/tiny:1",
        "layout": f"oci:{tmp_path / 'image'}:1",
        "archive": f"docker-archive:{tmp_path / 'image.tar'}",
    }
    command = [str(PROGRAM), "image", "build", kit, "--base", "scratch", "-t", places[kind], "--concurrency", "1"]
    environ = os.environ | {"MLKIT_HOME": str(session.settings.home), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    # Slow enough to be in the middle of it, wherever the bytes go.
    if kind == "registry":
        command += ["--limit-rate", "8M"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and not _has_begun(kind, registry, tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    was_killed = process.wait() == -signal.SIGKILL
    # What was on the wire when it died still arrives.
    sent = -1
    while sent != registry.received_bytes():
        sent = registry.received_bytes()
        time.sleep(0.2)

    if was_killed and kind == "registry":
        assert not registry.repositories.get("team/tiny") or not registry.repositories["team/tiny"].manifests
    if was_killed and kind == "archive":
        assert not (tmp_path / "image.tar").exists()
    again = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    if was_killed and kind == "registry":
        # The first layer had arrived, and was known to.
        assert registry.received_bytes() - sent < 12.1 * MIB
    check = build(session, kit, "scratch", places[kind])
    assert str(check.digest) in again.stdout


def _has_begun(kind: str, registry: SimulatedRegistry, tmp_path: Path) -> bool:
    if kind == "registry":
        return len(registry.lines("POST .*")) > 1
    if kind == "layout":
        return (tmp_path / "image/oci-layout").exists()
    return bool(list(tmp_path.glob(".image.tar.*")))


def test_no_large_file_is_in_memory(session: Session, tmp_path: Path, registry: SimulatedRegistry) -> None:
    """A file of 64 MiB costs next to no more memory than a small one."""
    peaks = []
    for size in (1, 64):
        kitfile = "model: {name: m, path: model}\n"
        kit = pack_kit(session, tmp_path / f"{size}", {"model/a.bin": os.urandom(MIB) * size}, kitfile=kitfile)
        target = f"oci:{tmp_path / f'image-{size}'}:1"
        command = [str(PROGRAM), "image", "build", kit, "--base", "scratch", "-t", target, "--quiet"]
        peaks.append(peak_bytes(command, environ=os.environ | {"MLKIT_HOME": str(session.settings.home)})[0])

    assert peaks[1] - peaks[0] < 16 * MIB
