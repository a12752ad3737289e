"""Images in the hands of others: read by skopeo, umoci and crane, and really run by runc, bubblewrap and podman."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.base_images import Base, busybox, tar, write_base
from tests.support.containers import PODMAN_RUN, bubblewrap, podman, runc, unpack_image
from tests.support.docker_registry import docker_registry
from tests.support.images import FILES, build, pack_kit
from tests.support.programs import Program

import mlkit
from mlkit.api.session import Session

SKOPEO, UMOCI, CRANE = Program("skopeo"), Program("umoci"), Program("crane")
WHAT_IS_THERE = "id -u; sha256sum /models/* /kit/model/a.safetensors; touch /models/new /new || echo read-only"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",)) as opened:
        yield opened


@pytest.fixture
def kit(session: Session, tmp_path: Path) -> str:
    files = {name: raw for name, raw in FILES.items() if "tokenizer" not in name}
    return pack_kit(session, tmp_path / "project", files)


def check_inside(printed: str) -> None:
    """That a process which ran WHAT_IS_THERE was nobody, and found the kit's own bytes."""
    lines = printed.splitlines()
    assert lines[0] == "65532"
    assert lines[-1] == "read-only"
    digests = dict(reversed(line.split("  ")) for line in lines[1:-1])
    for name in ("a.safetensors", "b.safetensors", "config.json"):
        assert digests[f"/models/{name}"] == hashlib.sha256(FILES[f"model/{name}"]).hexdigest()
    assert digests["/kit/model/a.safetensors"] == digests["/models/a.safetensors"]


def test_a_container_finds_the_right_bytes(session: Session, kit: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", busybox())
    build(session, kit, f"oci:{base}", f"oci:{tmp_path / 'image'}:1")
    bundle = unpack_image(tmp_path / "image", "1", tmp_path / "bundle")

    by_runc = runc(bundle, f"mlkit-{tmp_path.name}", "sh", "-c", WHAT_IS_THERE)
    by_bubblewrap = bubblewrap(bundle / "rootfs", "/bin/sh", "-c", WHAT_IS_THERE)

    assert (by_runc.code, by_bubblewrap.code) == (0, 0), by_runc.stderr + by_bubblewrap.stderr
    check_inside(by_runc.stdout)
    check_inside(by_bubblewrap.stdout)


def test_podman_loads_and_runs_an_archive(session: Session, kit: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", busybox())
    built = build(session, kit, f"oci:{base}", f"docker-archive:{tmp_path / 'image.tar'}")

    with podman(tmp_path / "podman") as program:
        program("load", "-i", tmp_path / "image.tar")
        printed = program(*PODMAN_RUN, "tiny:1.2", "sh", "-c", WHAT_IS_THERE)
        (found,) = json.loads(program("image", "inspect", "tiny:1.2"))

    check_inside(printed)
    assert found["Digest"] == str(built.digest)
    assert found["Config"]["Labels"]["dev.mlkit.kit.digest"] == str(built.kit_digest)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_reads_a_file_of_ours_either_way(session: Session, kit: str, tmp_path: Path, kind: str) -> None:
    built = build(session, kit, "scratch", f"docker-archive:{tmp_path / 'image.tar'}:team/tiny:1")

    SKOPEO("copy", f"{kind}:{tmp_path / 'image.tar'}", f"oci:{tmp_path / 'copied'}:1")

    found = json.loads(SKOPEO("inspect", "--config", f"oci:{tmp_path / 'copied'}:1"))
    assert found["config"]["Labels"]["dev.mlkit.kit.digest"] == str(built.kit_digest)
    assert found["rootfs"]["diff_ids"] == [str(layer.diff_id) for layer in built.layers]


def test_skopeo_and_umoci_read_a_layout_of_ours_and_go_on_with_it(session: Session, kit: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    built = build(session, kit, "scratch", f"oci:{image}:1")

    raw = SKOPEO("inspect", "--raw", f"oci:{image}:1")
    UMOCI("config", "--image", f"{image}:1", "--tag", "2", "--config.user", "7")
    again = build(session, kit, f"oci:{image}:2", f"oci:{image}:3")

    assert hashlib.sha256(raw.encode()).hexdigest() == built.digest.hex
    assert again.user == "7"


def test_an_image_in_a_registry_is_sound(session: Session, kit: str, tmp_path: Path) -> None:
    arm = Base((tar({"cpu": b"arm"}),), architecture="arm64")
    base = write_base(tmp_path / "base", Base((tar({"cpu": b"amd"}),)), arm)
    with docker_registry(tmp_path / "registry") as host:
        one = build(session, kit, f"oci:{base}", f"{host}/team/tiny:one")
        every = build(session, kit, f"oci:{base}", f"{host}/team/tiny:all", platforms="all")

        # Fast: its slow way takes every layer for gzip, whatever the media type says.
        CRANE("validate", "--fast", "--insecure", "--remote", f"{host}/team/tiny:one")
        CRANE("validate", "--fast", "--insecure", "--remote", f"{host}/team/tiny:all")
        CRANE("export", "--insecure", f"{host}/team/tiny:one", tmp_path / "files.tar")
        digests = [CRANE("digest", "--insecure", f"{host}/team/tiny:{tag}").strip() for tag in ("one", "all")]

    assert digests == [str(one.digest), str(every.digest)]
    with tarfile.open(tmp_path / "files.tar") as files:
        found = files.extractfile("models/a.safetensors")
        assert found is not None
        assert found.read() == FILES["model/a.safetensors"]


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci"])
def test_what_skopeo_writes_is_a_base(session: Session, kit: str, tmp_path: Path, kind: str) -> None:
    base = write_base(tmp_path / "base", Base((tar({"a": b"1"}), tar({"b": b"2"}), tar({"b": b"2"}))))
    name = "base.tar:team/base:1" if kind == "docker-archive" else "base-copy:1"
    SKOPEO("copy", f"oci:{base}:1", f"{kind}:{tmp_path / name}")

    built = build(session, kit, f"{kind}:{tmp_path / name.partition(':')[0]}", f"oci:{tmp_path / 'image'}:1")

    SKOPEO("copy", f"oci:{tmp_path / 'image'}:1", f"dir:{tmp_path / 'checked'}")
    assert len(json.loads(SKOPEO("inspect", "--raw", f"oci:{tmp_path / 'image'}:1"))["layers"]) == 3 + len(built.layers)
