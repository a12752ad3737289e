"""What no image is built of, and that nothing is half built then."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.base_images import DOCKER, OCI, Base, tar, write_base
from tests.support.images import FILES, KITFILE, LaidOut, build, pack_kit
from tests.support.kits import Layer, own_kit, tar_of
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.api.image_targets import opened
from mlkit.api.session import Session
from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.errors import (
    AuthError,
    ConflictError,
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
    NotFoundError,
    StoreError,
    UnsafeError,
    UsageError,
)
from mlkit.serving.image_config import Launch
from mlkit.serving.image_places import parse_target
from mlkit.serving.image_platform import Platform

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/aarch64")


@pytest.fixture
def kit(session: Session, tmp_path: Path) -> str:
    return pack_kit(session, tmp_path / "project")


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"oci:{tmp_path / 'image'}:1"


def made_by_hand(session: Session, kitfile: str, *layers: Layer) -> str:
    """A kit in the local store that no packer would write."""
    store = MemoryStore()
    root = own_kit(store, kitfile, layers)
    copy(store, session.layout, root)
    session.layout.tag(root, "hand:1")
    return "hand:1"


def check_nothing_is_there(tmp_path: Path) -> None:
    assert not (tmp_path / "image").exists()


def test_a_base_of_another_platform_is_refused(session: Session, kit: str, target: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", Base(architecture="arm64", variant="v8"))
    several = write_base(tmp_path / "several", Base(architecture="arm64"), Base(architecture="s390x"))

    with pytest.raises(UsageError, match=r"no image for linux/amd64 \(it has linux/arm64/v8\)"):
        build(session, kit, f"oci:{base}", target, platforms=[AMD64])
    with pytest.raises(UsageError, match=r"no image for linux/amd64 \(it has linux/arm64, linux/s390x\)"):
        build(session, kit, f"oci:{several}", target)

    check_nothing_is_there(tmp_path)
    assert build(session, kit, f"oci:{base}", target, platforms=[ARM64]).platforms == ("linux/arm64/v8",)
    assert build(session, kit, f"oci:{base}", target).platforms == ("linux/arm64/v8",)


def test_an_index_that_says_another_platform_than_its_image_is_refused(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", Base(), Base(architecture="arm64", config={"architecture": "riscv64"}))

    with pytest.raises(IntegrityError, match="is for linux/riscv64, and listed as for linux/arm64"):
        build(session, kit, f"oci:{base}", target, platforms="all")


def test_only_images_for_linux_are_built_on(session: Session, kit: str, target: str, tmp_path: Path) -> None:
    windows = write_base(tmp_path / "windows", Base(os="windows"))
    mixed = write_base(tmp_path / "mixed", Base(os="windows"), Base(os="unknown", architecture="unknown"), Base())
    none = write_base(tmp_path / "none", Base(os="windows"), Base(os="unknown", architecture="unknown"))

    with pytest.raises(UsageError, match="only images for Linux"):
        build(session, kit, f"oci:{windows}", target)
    with pytest.raises(UsageError, match="no container image for Linux"):
        build(session, kit, f"oci:{none}", target)

    with pytest.raises(UsageError, match="only images for Linux"):
        build(session, kit, "scratch", target, platforms=[Platform.parse("windows/amd64")])

    assert build(session, kit, f"oci:{mixed}", target, platforms="all").platforms == ("linux/amd64",)


def test_a_base_that_has_a_kit_already_is_told(session: Session, kit: str, target: str, tmp_path: Path) -> None:
    pack_kit(session, tmp_path / "before", {**FILES, "model/old.bin": b"old"}, tag="tiny:1.1")
    before = build(session, "tiny:1.1", "scratch", f"oci:{tmp_path / 'before-image'}:1")

    built = build(session, kit, f"oci:{tmp_path / 'before-image'}:1", target)
    again = build(session, kit, target, f"oci:{tmp_path / 'again'}:1")

    assert f"the base has a kit in it already, {before.kit_digest}" in " ".join(built.notes)
    assert "already" not in " ".join(again.notes)


@pytest.mark.parametrize(
    "kind",
    [f"{OCI}layer.nondistributable.v1.tar+gzip", f"{DOCKER}image.rootfs.foreign.diff.tar.gzip"],
)
def test_a_base_with_foreign_layers_is_refused(
    session: Session, kit: str, target: str, tmp_path: Path, kind: str
) -> None:
    base = write_base(tmp_path / "base", Base(layer_type=kind))

    with pytest.raises(UnsafeError, match="may not be distributed"):
        build(session, kit, f"oci:{base}", target)

    check_nothing_is_there(tmp_path)


def test_a_base_of_docker_becomes_an_oci_image_with_the_same_layers(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    old = {"container_config": {"Cmd": ["old"]}, "docker_version": "20", "os.features": ["x"]}
    base = write_base(tmp_path / "base", Base((tar({"a": b"1"}),), is_docker=True, config=old))

    build(session, kit, f"oci:{base}", target)

    before, image = LaidOut(tmp_path / "base"), LaidOut(tmp_path / "image")
    assert image.manifest["mediaType"] == f"{OCI}manifest.v1+json"
    assert image.manifest["config"]["mediaType"] == f"{OCI}config.v1+json"
    assert image.manifest["layers"][0]["digest"] == before.manifest["layers"][0]["digest"]
    assert image.manifest["layers"][0]["mediaType"] == f"{OCI}layer.v1.tar+gzip"
    assert not {"container_config", "docker_version"} & image.config.keys()
    assert image.config["os.features"] == ["x"]


def test_a_base_that_is_no_image_is_refused(session: Session, kit: str, target: str) -> None:
    with pytest.raises(UsageError, match="is no container image"):
        build(session, kit, f"oci:{session.layout.root}:{kit}", target)
    with pytest.raises(UsageError, match="no registry host"):
        build(session, kit, "python:3.12", target)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "does not list the diffIDs"),
        ({"rootfs": None}, "does not list the diffIDs"),
        ({"config": []}, "is not an object"),
        ({"config": {"Env": "PATH"}}, "Env is not a list"),
        ({"config": {"Labels": ["a"]}}, "Labels is not an object"),
        ({"architecture": 7}, "architecture 7 is no part of a platform"),
        ({"os": "../x"}, "os '../x' is no part of a platform"),
    ],
)
def test_a_base_whose_config_is_broken_is_refused(
    session: Session, kit: str, target: str, tmp_path: Path, change: dict[str, object], error: str
) -> None:
    base = write_base(tmp_path / "base", Base(config=change))

    with pytest.raises(IntegrityError, match=error):
        build(session, kit, f"oci:{base}", target)

    check_nothing_is_there(tmp_path)


def test_a_base_that_is_not_there_or_not_for_us_says_so(
    session: Session, kit: str, target: str, registry: SimulatedRegistry, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError):
        build(session, kit, f"{registry.host}/base:1", target)
    registry.auth = "basic"
    with pytest.raises(AuthError):
        build(session, kit, f"{registry.host}/base:1", target)
    with pytest.raises(NotFoundError, match="no OCI image layout"):
        build(session, kit, f"oci:{tmp_path / 'none'}:1", target)
    with pytest.raises(NotFoundError, match="no such file"):
        build(session, kit, f"docker-archive:{tmp_path / 'none.tar'}", target)
    base = write_base(tmp_path / "base")
    with pytest.raises(NotFoundError, match="no '2' in this store"):
        build(session, kit, f"oci:{base}:2", target)


def test_a_kit_without_a_model_needs_a_filter(session: Session, target: str, tmp_path: Path) -> None:
    kitfile = "manifestVersion: 1.0.0\ncode: [{path: code}]\n"
    kit = pack_kit(session, tmp_path / "project", {"code/x.py": b""}, kitfile=kitfile)

    with pytest.raises(NotFoundError, match="no model is in this kit") as caught:
        build(session, kit, "scratch", target)

    assert "--filter code" in str(caught.value.hint)
    assert build(session, kit, "scratch", target, filters=["code"]).layers


def test_a_partial_kit_fetches_what_is_missing_or_says_how(
    session: Session, other: Session, kit: str, target: str, tmp_path: Path, registry: SimulatedRegistry
) -> None:
    mlkit.push(kit, f"{registry.host}/tiny:1.2", session=session)
    mlkit.pull(f"{registry.host}/tiny:1.2", filters=["code"], session=other)

    build(other, f"{registry.host}/tiny:1.2", "scratch", target)
    registry.repositories["tiny"].blobs.clear()
    shutil.rmtree(tmp_path / "image")
    with pytest.raises(NotFoundError, match="this kit is partial here") as caught:
        build(other, f"{registry.host}/tiny:1.2", "scratch", target)

    assert "mlkit pull" in str(caught.value.hint)
    check_nothing_is_there(tmp_path)


@pytest.mark.parametrize("name", [".wh.sh", ".wh..wh..opq"])
def test_a_name_that_would_remove_files_of_the_base_is_refused(
    session: Session, target: str, tmp_path: Path, name: str
) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: m, path: model}\n"
    kit = pack_kit(session, tmp_path / "project", {f"model/x/{name}": b"x"}, kitfile=kitfile)

    with pytest.raises(UnsafeError, match="removes other files"):
        build(session, kit, "scratch", target)

    check_nothing_is_there(tmp_path)


def test_a_model_path_that_leaves_models_is_refused(session: Session, target: str) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: m, path: model}\n"
    escaping = Layer("model", {"model/../../etc/passwd": b"x"})

    with pytest.raises(MlkitError) as caught:
        build(session, made_by_hand(session, kitfile, escaping), "scratch", target)

    assert isinstance(caught.value, UnsafeError | IntegrityError)


@pytest.mark.parametrize("bad", ["file", "link", "whiteout", "outside"])
def test_a_layer_of_the_kit_is_taken_as_it_is_only_when_it_holds_what_the_kit_says(
    session: Session, target: str, tmp_path: Path, bad: str
) -> None:
    """A tar that the kit lists as one file of a model may hold anything: in an image it would be anywhere."""
    sink = io.BytesIO(tar_of({"models/a.bin": b"weights"}))
    with tarfile.open(fileobj=sink, mode="a") as archive:
        name = {"whiteout": "models/.wh.a.bin", "outside": "etc/passwd"}.get(bad, "models/more")
        member = tarfile.TarInfo(name)
        if bad == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: m, path: models}\n"
    layer = Layer("model", {"models/a.bin": b"weights"}, kind="tar", raw=sink.getvalue())

    with pytest.raises((IntegrityError, UnsafeError)):
        build(session, made_by_hand(session, kitfile, layer), "scratch", target)

    check_nothing_is_there(tmp_path)


def test_two_files_in_one_place_are_refused(session: Session, target: str, tmp_path: Path) -> None:
    kitfile = "manifestVersion: 1.0.0\nmodel: {name: m, path: model, parts: [{path: config.json}]}\n"
    files = {"model/a.bin": b"a", "model/config.json": b"{}", "config.json": b"[]"}
    kit = pack_kit(session, tmp_path / "project", files, kitfile=kitfile)

    with pytest.raises(ConflictError, match=r"two files of the kit would be /models/config\.json"):
        build(session, kit, "scratch", target)


def test_a_file_of_the_kit_that_has_rotted_is_not_built_in(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    layer = next(one for one in mlkit.inspect(kit, session=session).layers if one.path == "model/a.safetensors")
    blob = session.layout.root / "blobs/sha256" / layer.digest.hex
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")

    with pytest.raises(IntegrityError) as caught:
        build(session, kit, "scratch", target)
    with pytest.raises((IntegrityError, NotFoundError)):
        build(session, kit, "scratch", f"docker-archive:{tmp_path / 'image.tar'}")

    assert "damaged" in str(caught.value.hint)
    check_nothing_is_there(tmp_path)
    assert [path.name for path in tmp_path.glob("*.tar*")] + [path.name for path in tmp_path.glob(".*")] == []


def _rot(session: Session, kit: str) -> None:
    layer = next(one for one in mlkit.inspect(kit, session=session).layers if one.path == "model/a.safetensors")
    blob = session.layout.blobs.path(layer.digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")


def test_of_a_build_that_fails_no_folder_is_left_that_was_not_there(session: Session, kit: str, tmp_path: Path) -> None:
    _rot(session, kit)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("kept")

    for folder in ("new", "new/and/deep", "empty", "mine"):
        with pytest.raises((IntegrityError, NotFoundError)):
            build(session, kit, "scratch", f"oci:{tmp_path / folder}:1")

    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_of_a_build_that_fails_the_images_beside_it_stay(session: Session, kit: str, tmp_path: Path) -> None:
    first = build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:1")
    other = pack_kit(session, tmp_path / "other", {**FILES, "model/a.safetensors": b"others"}, tag="other:1")
    _rot(session, other)

    with pytest.raises((IntegrityError, NotFoundError)):
        build(session, other, "scratch", f"oci:{tmp_path / 'image'}:2")

    there = Layout.at(tmp_path / "image")
    assert [(name, desc.digest) for name, desc in there.names().items()] == [("1", first.digest)]
    assert LaidOut(tmp_path / "image").files()["models/a.safetensors"] == FILES["model/a.safetensors"]


def test_an_image_that_somebody_put_into_a_new_folder_meanwhile_stays(
    session: Session, kit: str, tmp_path: Path
) -> None:
    place = parse_target(f"oci:{tmp_path / 'image'}:1")

    def stopped() -> None:
        with opened(session, place):
            build(session, kit, "scratch", f"oci:{tmp_path / 'image'}:2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()

    assert LaidOut(tmp_path / "image", "2").files()["models/a.safetensors"] == FILES["model/a.safetensors"]


def test_a_known_layer_is_verified_again_when_it_is_sent(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    build(session, kit, "scratch", target)
    layer = next(one for one in mlkit.inspect(kit, session=session).layers if one.path == "model/a.safetensors")
    blob = session.layout.root / "blobs/sha256" / layer.digest.hex
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")

    with pytest.raises(IntegrityError):
        build(session, kit, "scratch", f"oci:{tmp_path / 'elsewhere'}:1")

    assert not (tmp_path / "elsewhere").exists()


def test_a_base_layer_that_has_rotted_is_not_taken_over(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", Base((tar({"a": b"1"}),)))
    layer = LaidOut(base).manifest["layers"][0]
    blob = base / "blobs" / layer["digest"].replace(":", "/")
    blob.write_bytes(gzip.compress(tar({"a": b"2"}), mtime=0).ljust(layer["size"], b"\0")[: layer["size"]])

    with pytest.raises(IntegrityError) as caught:
        build(session, kit, f"oci:{base}", target)

    assert "layer of the base" in str(caught.value.hint)
    check_nothing_is_there(tmp_path)


def test_a_target_that_cannot_be_written_says_so(
    session: Session, kit: str, registry: SimulatedRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="is a file"):
        build(session, kit, "scratch", f"oci:{tmp_path / 'file'}:1")
    with pytest.raises(StoreError):
        build(session, kit, "scratch", f"oci:{tmp_path / 'file/below'}:1")
    with pytest.raises(StoreError):
        build(session, kit, "scratch", f"docker-archive:{tmp_path / 'file/below.tar'}")
    with pytest.raises(UsageError, match="is a directory"):
        build(session, kit, "scratch", f"docker-archive:{tmp_path}")
    registry.deny = {"POST", "PUT", "PATCH"}
    with pytest.raises(AuthError):
        build(session, kit, "scratch", f"{registry.host}/tiny:1")

    assert not registry.repositories.get("tiny") or not registry.repositories["tiny"].tags


def test_a_build_that_fails_leaves_no_image_and_the_next_sends_only_the_rest(
    session: Session, kit: str, registry: SimulatedRegistry
) -> None:
    registry.fail_times(403, 100, on="PUT .*/manifests/.*")
    with pytest.raises(AuthError):
        build(session, kit, "scratch", f"{registry.host}/tiny:1")
    repository = registry.repositories["tiny"]
    assert (repository.manifests, repository.tags) == ({}, {})

    registry.rules.clear()
    sent = registry.received_bytes()
    built = build(session, kit, "scratch", f"{registry.host}/tiny:1")

    assert repository.tags == {"1": str(built.digest)}
    assert registry.received_bytes() - sent < 10_000


def test_a_registry_that_takes_blobs_only_whole_gets_them_whole(
    session: Session, kit: str, registry: SimulatedRegistry
) -> None:
    registry.no_chunked = True

    built = build(session, kit, "scratch", f"{registry.host}/tiny:1")

    assert registry.repositories["tiny"].tags == {"1": str(built.digest)}
    assert {str(layer.digest) for layer in built.layers} <= registry.repositories["tiny"].blobs.keys()


def test_a_base_with_too_many_layers_leaves_no_room(session: Session, kit: str, target: str, tmp_path: Path) -> None:
    full = write_base(tmp_path / "full", Base(tuple(tar({f"f{number}": b""}) for number in range(125))))
    almost = write_base(tmp_path / "almost", Base(tuple(tar({f"f{number}": b""}) for number in range(124))))

    with pytest.raises(LimitError, match="125 layers already"):
        build(session, kit, f"oci:{full}", target)

    assert len(build(session, kit, f"oci:{almost}", target).layers) == 1
    assert LaidOut(tmp_path / "image").files()["models/b.safetensors"] == FILES["model/b.safetensors"]


@pytest.mark.parametrize("text", ["image", "oci:", "host/repo@sha256:" + "0" * 64, "oci-archive:x.tar", "host/UP:1"])
def test_what_is_no_target_is_refused(session: Session, kit: str, text: str) -> None:
    with pytest.raises(UsageError):
        build(session, kit, "scratch", text)


def test_several_platforms_do_not_fit_into_an_archive_of_docker(session: Session, kit: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", Base(), Base(architecture="arm64"))

    with pytest.raises(UsageError, match="one platform"):
        build(session, kit, f"oci:{base}", f"docker-archive:{tmp_path / 'a.tar'}", platforms="all")
    with pytest.raises(UsageError, match="every platform"):
        build(session, kit, "scratch", f"docker-archive:{tmp_path / 'a.tar'}", platforms="all")


def test_a_runtime_that_reads_no_model_of_the_kit_is_refused(
    session: Session, kit: str, target: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no runtime is called"):
        build(session, kit, "scratch", target, runtime="vlllm")
    with pytest.raises(UsageError, match="there is no command"):
        build(session, kit, "scratch", target, runtime="custom")
    with pytest.raises(MlkitError):
        build(session, kit, "scratch", target, runtime="llama.cpp")
    own = build(session, kit, "scratch", target, runtime="custom", launch=Launch(entrypoint=("/serve", "{model}")))

    assert own.entrypoint[0] == "/serve"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_layout_that_is_read_only_is_left_alone(session: Session, kit: str, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)

    with pytest.raises(StoreError):
        build(session, kit, "scratch", f"oci:{folder / 'image'}:1")


def test_a_connection_that_is_cut_for_good_is_a_network_error(session: Session, kit: str) -> None:
    settings = {"home": session.settings.home, "plain_http_hosts": ("loopback",), "retry_budget": 1}
    with mlkit.session(**settings) as quick, pytest.raises(NetworkError):
        build(quick, kit, "scratch", "127.0.0.1:1/tiny:1")


def test_the_kitfile_of_a_kit_is_the_authors(session: Session, kit: str, target: str, tmp_path: Path) -> None:
    build(session, kit, "scratch", target)

    assert LaidOut(tmp_path / "image").files()["kit/Kitfile"].decode() == KITFILE
