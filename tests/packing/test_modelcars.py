"""Container images that carry a model in `/models`, made by hand: only that folder counts, and only what adds to it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.packing.test_artifacts import artifact, read, unpacked
from tests.support.kits import compressed, tar_of

from mlkit.content.memory import MemoryStore
from mlkit.errors import IntegrityError, NotFoundError, UnsafeError
from mlkit.packing.kit import load_kit
from mlkit.spec.descriptor import Descriptor

IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar"


def image(
    store: MemoryStore,
    layers: Sequence[bytes],
    *,
    history: Sequence[str] = (),
    compression: str = "gzip",
    **config: Any,
) -> Descriptor:
    suffix = "" if compression == "none" else f"+{compression}"
    value = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]},
        "history": [{"created_by": step} for step in history],
        **config,
    }
    return artifact(
        store,
        [(IMAGE_LAYER + suffix, compressed(one, compression), {}) for one in layers],
        config_type=IMAGE_CONFIG,
        config=json.dumps(value).encode(),
    )


def root_file_system() -> bytes:
    """What a base image holds: links, devices, and names that no kit may have."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, target in (
            ("bin/sh", tarfile.LNKTYPE, "bin/busybox"),
            ("lib64", tarfile.SYMTYPE, "lib"),
            ("lib/" + "very-long-" * 20, tarfile.SYMTYPE, "to/" + "very-long-" * 20),
            ("dev/null", tarfile.CHRTYPE, ""),
            ("run/pipe", tarfile.FIFOTYPE, ""),
            (".wh.gone", tarfile.REGTYPE, ""),
            ("models-of-others/x", tarfile.REGTYPE, ""),
            ("models", tarfile.DIRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return sink.getvalue()


MODELCAR = ("RUN mkdir /models && chmod 775 /models", "COPY data/ /models/ # buildkit")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_models_of_a_modelcar_are_read(tmp_path: Path, compression: str) -> None:
    store = MemoryStore()
    layers = [
        root_file_system(),
        tar_of({"models/": b"", "models/config.json": b"{}", "etc/passwd": b"root"}),
        tar_of({"./models/deep/net.safetensors": b"weights"}),
    ]
    desc = image(store, layers, history=MODELCAR, compression=compression)

    assert unpacked(store, desc, tmp_path / "out") == {
        "models/config.json": b"{}",
        "models/deep/net.safetensors": b"weights",
    }
    assert read(store, desc, "models/deep/net.safetensors") == b"weights"
    assert unpacked(store, desc, tmp_path / "some", "model:*.json") == {"models/config.json": b"{}"}
    with pytest.raises(NotFoundError):
        read(store, desc, "etc/passwd")


@pytest.mark.parametrize(
    "members",
    [{"models/.wh.config.json": b""}, {"models/a": b"1", "models/.wh..wh..opq": b""}],
    ids=["whiteout", "opaque"],
)
def test_a_modelcar_that_takes_files_away_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"models/config.json": b"{}"}), tar_of(members)], history=MODELCAR)

    with pytest.raises(UnsafeError, match="removes a file"):
        unpacked(store, desc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_modelcar_that_replaces_a_file_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"models/a": b"1"}), tar_of({"models/a": b"2"})], history=MODELCAR)

    with pytest.raises(UnsafeError):
        unpacked(store, desc, tmp_path / "out")


@pytest.mark.parametrize("end", [512 + 3, 512 + 512, 512 + 1024], ids=["no padding", "no zeros", "one block of zeros"])
def test_a_layer_of_an_image_may_lack_the_zeros_at_its_end(tmp_path: Path, end: int) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"models/a": b"abc"})[:end]], history=MODELCAR)

    assert unpacked(store, desc, tmp_path / "out") == {"models/a": b"abc"}


@pytest.mark.parametrize("end", [300, 512 + 2, 512 + 100, 512 + 1000], ids=["header", "data", "padding", "zeros"])
def test_a_layer_of_an_image_that_breaks_off_anywhere_else_is_refused(tmp_path: Path, end: int) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"models/a": b"abc"})[:end]], history=MODELCAR)

    with pytest.raises(IntegrityError, match="breaks off"):
        unpacked(store, desc, tmp_path / "out")


@pytest.mark.parametrize("members", [{"models/": b""}, {"etc/passwd": b"root"}], ids=["empty", "none"])
def test_a_modelcar_without_a_model_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of(members)], history=MODELCAR)

    with pytest.raises(UnsafeError, match="a container image with no file in /models"):
        unpacked(store, desc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_among_the_models_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("models/net.bin")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(member)
    desc = image(store, [sink.getvalue()], history=MODELCAR)

    with pytest.raises(UnsafeError, match="symbolic link"):
        unpacked(store, desc, tmp_path / "out")


@pytest.mark.parametrize("rootfs", [None, {"diff_ids": []}, {"diff_ids": "sha256:x"}], ids=["none", "few", "text"])
def test_a_modelcar_whose_config_disagrees_is_refused(rootfs: Any) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"models/a": b"1"})], history=MODELCAR, rootfs=rootfs)

    with pytest.raises(IntegrityError, match="diffIDs"):
        load_kit(store, desc)


@pytest.mark.parametrize(
    "history",
    [
        (),
        ("COPY app /srv/models/",),
        ("COPY app /models-of-others/",),
        ("COPY models /app",),
        ("RUN make supermodels ",),
    ],
)
def test_any_other_image_is_said_to_be_one(history: tuple[str, ...]) -> None:
    store = MemoryStore()
    desc = image(store, [tar_of({"etc/passwd": b"root"})], history=history)

    with pytest.raises(UnsafeError, match="is a container image, and no kit: nothing in it tells of /models"):
        load_kit(store, desc)
