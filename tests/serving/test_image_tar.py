"""Archives of images from others, and from nobody good."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.base_images import tar

from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, UsageError
from mlkit.serving.image_tar import TarStore
from mlkit.spec.descriptor import Descriptor

LAYER = tar({"a": b"1"})


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def config(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()


def archive(path: Path, files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> Path:
    path.write_bytes(tar(files, links=links))
    return path


def docker_archive(path: Path, layer: bytes = LAYER, *, links: Mapping[str, str] | None = None, **changes: Any) -> Path:
    entry = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"], **changes}
    files = {"manifest.json": json.dumps([entry]).encode(), "c.json": config(LAYER), "real.tar": layer}
    return archive(path, files, links=links or {"layer.tar": "real.tar"})


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_layers_are_found_through_links_and_are_what_the_config_says(tmp_path: Path, compress: bool) -> None:
    layer = gzip.compress(LAYER) if compress else LAYER
    store = TarStore(
        docker_archive(tmp_path / "a.tar", layer, links={"x/y.tar": "../real.tar", "layer.tar": "x/y.tar"})
    )

    raw, (found,) = store.docker_image(None)

    assert raw == config(LAYER)
    assert found.media_type.endswith("+gzip") is compress
    with store.open(found) as stream:
        assert stream.read() == layer
    with store.open(found, offset=3) as stream:
        assert stream.read() == layer[3:]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Layers": []}, "list different layers"),
        ({"Layers": ["none.tar"]}, "is not there"),
        ({"Layers": "layer.tar"}, "list different layers"),
        ({"Config": "../../etc/passwd"}, "config that manifest.json names is not there"),
        ({"Config": None}, "config that manifest.json names is not there"),
    ],
)
def test_a_manifest_that_lists_what_is_not_there_is_refused(
    tmp_path: Path, changes: dict[str, object], error: str
) -> None:
    store = TarStore(docker_archive(tmp_path / "a.tar", **changes))

    with pytest.raises(IntegrityError, match=error):
        store.docker_image(None)


def test_a_layer_that_is_not_what_the_config_says_is_refused(tmp_path: Path) -> None:
    for number, layer in enumerate((tar({"a": b"2"}), gzip.compress(tar({"a": b"2"})))):
        with pytest.raises(IntegrityError, match="expected sha256"):
            TarStore(docker_archive(tmp_path / f"{number}.tar", layer)).docker_image(None)


def test_of_several_images_one_is_named(tmp_path: Path) -> None:
    entries = [{"Config": f"{name}.json", "RepoTags": [f"{name}:1"], "Layers": ["l.tar"]} for name in "ab"]
    files = {"manifest.json": json.dumps(entries).encode(), "a.json": config(LAYER), "l.tar": LAYER}
    store = TarStore(archive(tmp_path / "a.tar", {**files, "b.json": config(LAYER) + b" "}))

    with pytest.raises(UsageError, match="holds 2 images"):
        store.docker_image(None)
    with pytest.raises(NotFoundError, match="it has a:1, b:1"):
        store.docker_image("c:1")
    assert store.docker_image("b:1")[0] == config(LAYER) + b" "


def test_a_link_that_leads_out_or_around_is_no_file(tmp_path: Path) -> None:
    links = {"layer.tar": "../../../etc/passwd", "a": "b", "b": "a"}

    with pytest.raises(IntegrityError, match="is not there"):
        TarStore(docker_archive(tmp_path / "a.tar", links=links)).docker_image(None)


def test_a_blob_that_has_rotted_is_noticed(tmp_path: Path) -> None:
    name = f"blobs/sha256/{digest(LAYER).partition(':')[2]}"
    store = TarStore(archive(tmp_path / "a.tar", {name: LAYER[:-1] + b"!"}))
    desc = Descriptor.of(LAYER, "application/x")

    with pytest.raises(IntegrityError), store.open(desc) as stream:
        stream.read()
    with pytest.raises(NotFoundError), store.open(Descriptor.of(b"", "application/x")):
        pass


def broken(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a tar",
        gzip.compress(LAYER),
        LAYER[:512],
        broken(LAYER, 0, b"z"),
        broken(LAYER, 124, b"-0000000001\0"),
        broken(LAYER, 124, b"9" * 12),
        broken(LAYER, 124, b"\x80" + b"\xff" * 11),
        b"\xff" * 2048,
    ],
    ids=["empty", "text", "gzip", "cut", "checksum", "negative", "no-octal", "huge", "ones"],
)
def test_what_is_no_tar_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(raw)

    with pytest.raises(IntegrityError):
        TarStore(tmp_path / "a.tar")


def test_a_long_header_is_not_read_into_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x" * 10)
    member.type, member.size = tarfile.XHDTYPE, 2 << 20
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + bytes(3 << 20))

    with pytest.raises(LimitError, match="extended header"):
        TarStore(tmp_path / "a.tar")


def test_long_names_are_read_whoever_wrote_them(tmp_path: Path) -> None:
    name = "d" * 120 + "/" + "f" * 150
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as written:
            member = tarfile.TarInfo(name if form != tarfile.USTAR_FORMAT else "d" * 120 + "/" + "f" * 90)
            member.size = 3
            written.addfile(member, io.BytesIO(b"abc"))
            named = member.name
        (tmp_path / f"{number}.tar").write_bytes(sink.getvalue())

        assert TarStore(tmp_path / f"{number}.tar").document(named) == b"abc"


def test_a_document_has_a_limit(tmp_path: Path) -> None:
    store = TarStore(archive(tmp_path / "a.tar", {"manifest.json": b"[" + b" " * (5 << 20) + b"]"}))

    with pytest.raises(LimitError):
        store.docker_image(None)


@pytest.mark.parametrize("value", [b"{}", b"[]", b"[1]", b"[[]]", b"null"])
def test_a_manifest_of_nothing_is_refused(tmp_path: Path, value: bytes) -> None:
    with pytest.raises(MlkitError):
        TarStore(archive(tmp_path / "a.tar", {"manifest.json": value})).docker_image(None)
