"""Layers as they are made: read from anywhere in them, and read again, they are the same bytes."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.kits import tar_of

from mlkit.archive.tar import link_header
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch, UnsafeError, UsageError
from mlkit.serving.image_layers import LayerContent, check_reused, digest_of, layer_chunks
from mlkit.serving.image_places import parse_base, parse_target
from mlkit.serving.image_platform import Platform
from mlkit.serving.image_reader import BESIDE_FROM, verified_beside
from mlkit.serving.image_tree import ImageLayer, KitPart, Text, plan_layers
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import Compression, FileRecord, Kind
from mlkit.spec.media_types import Class


class Careless(MemoryStore):
    """Gives other bytes than it was asked for."""

    def __init__(self, given: bytes) -> None:
        super().__init__()
        self.given = given

    def open(self, desc: Descriptor, *, offset: int = 0) -> io.BytesIO:  # type: ignore[override]  # not verified at all
        return io.BytesIO(self.given[offset:])


def part(
    files: dict[str, bytes],
    *,
    kind: Kind = "raw",
    compression: Compression = "none",
    cls: Class = Class.MODEL,
    home: str = "model",
    is_known: bool = True,
    stored: bytes | None = None,
) -> KitPart:
    raw = next(iter(files.values())) if kind == "raw" else tar_of(files)
    store = MemoryStore()
    desc = Descriptor.of(raw if stored is None else stored, "application/x")
    store.push(desc, BytesContent(raw if stored is None else stored))
    records = tuple(FileRecord(name, len(one), 0o644, Digest.of(one), 0) for name, one in files.items())
    return KitPart(
        store=store,
        desc=desc,
        kind=kind,
        compression=compression,
        cls=cls,
        diff_id=desc.digest,
        files=records if is_known else None,
        is_whole=True,
        path=next(iter(files)),
        mode=0o644,
        place=lambda name: name,
        wants=lambda _: True,
        home=home,
    )


LAYER = ImageLayer(
    (
        part({"model/a.bin": bytes(range(256)) * 9}),
        part({"model/x/y.txt": b"abc", "model/z": b""}, kind="tar"),
        part({"model/q/r.txt": b"unknown"}, kind="tar", is_known=False),
        part({"code/run.py": b"print()"}, cls=Class.CODE),
    ),
    texts=(Text("kit/Kitfile", b"model: {}\n"),),
    links=(("kit/model/a.bin", "../../models/a.bin"),),
    directories=("kit/empty",),
)
BYTES = b"".join(bytes(chunk) for chunk in layer_chunks(LAYER))


def test_a_layer_is_a_tar_with_every_folder_before_what_is_in_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(BYTES)) as archive:
        members = archive.getmembers()

    seen = {""}
    for member in members:
        assert member.name.rpartition("/")[0] in seen
        if member.isdir():
            assert member.name not in seen
            seen.add(member.name)
    assert [member.name for member in members if member.isreg()] == [
        "kit/Kitfile",
        "models/a.bin",
        "models/x/y.txt",
        "models/z",
        "models/q/r.txt",
        "kit/code/run.py",
    ]
    assert {member.name: member.linkname for member in members if member.issym()} == {
        "kit/model/a.bin": "../../models/a.bin"
    }
    assert "kit/empty" in seen


def test_the_size_of_a_layer_is_known_where_its_files_are() -> None:
    known = ImageLayer(LAYER.parts[:2], LAYER.texts, LAYER.links, LAYER.directories)

    assert LAYER.size is None
    assert known.size == sum(len(chunk) for chunk in layer_chunks(known))
    assert digest_of(LAYER, lambda _: None) == (Digest.of(BYTES), len(BYTES))


@given(st.integers(0, len(BYTES)), st.integers(1, 3000), st.booleans())
@settings(max_examples=60)
def test_content_is_the_same_from_everywhere(offset: int, step: int, is_verified: bool) -> None:
    found = bytearray()
    with LayerContent(LAYER, is_verified=is_verified).open(offset=offset) as stream:
        while chunk := stream.read(step):
            found += chunk

    assert bytes(found) == BYTES[offset:]


@pytest.mark.parametrize("size", [BESIDE_FROM, BESIDE_FROM + 1])
@pytest.mark.parametrize("change", ["none", "short", "long", "other"])
def test_a_file_is_verified_before_its_last_byte_leaves(size: int, change: str) -> None:
    content = b"\7" * size
    desc = Descriptor.of(content, "application/x")
    given = {"none": content, "short": content[:-1], "long": content + b"x", "other": content[:-1] + b"x"}[change]
    careless = replace(part({"model/a.bin": b""}), store=Careless(given), desc=desc, files=None)
    out = bytearray()

    def drain() -> None:
        for chunk in layer_chunks(ImageLayer((careless,))):
            out.extend(chunk)

    if change == "none":
        drain()
        assert content in bytes(out)
        return
    with pytest.raises((DigestMismatch, SizeMismatch)):
        drain()
    assert b"\7" * 100 in out
    assert len(out) < size + 1024


def test_a_reader_that_is_given_up_ends_its_thread() -> None:
    content = bytes(BESIDE_FROM)
    with verified_beside(io.BytesIO(content), Descriptor.of(content, "application/x")) as stream:
        assert stream.read(10) == content[:10]


def test_a_tar_that_holds_something_else_than_its_kit_says_is_refused() -> None:
    good = part({"models/a": b"1"}, kind="tar", home="models")
    more = part({"models/a": b"1"}, kind="tar", home="models", stored=tar_of({"models/a": b"1", "models/b": b"2"}))
    less = part({"models/a": b"1", "models/b": b"2"}, kind="tar", home="models", stored=tar_of({"models/a": b"1"}))
    other = part({"models/a": b"1"}, kind="tar", home="models", stored=tar_of({"models/a": b"22"}))

    assert good.fits
    check_reused(good)
    for bad in (more, less, other):
        with pytest.raises(IntegrityError):
            check_reused(bad)
        with pytest.raises(IntegrityError):
            list(layer_chunks(ImageLayer((bad,), texts=(Text("kit/x", b""),))))


@pytest.mark.parametrize(
    ("home", "path", "place"),
    [("model", "model/a", "models/a"), (".", "a", "models/a"), ("model", "modelx/a", "models/modelx/a")],
)
def test_the_home_of_a_model_is_taken_off_by_component(home: str, path: str, place: str) -> None:
    assert part({path: b""}, home=home).image_path(path) == place


def test_a_name_of_a_whiteout_has_no_place_wherever_it_comes_from() -> None:
    for bad in (part({"code/.wh.x": b""}, cls=Class.CODE), part({"model/.wh.d/x": b""})):
        with pytest.raises(UnsafeError):
            plan_layers([bad], room=10)
    hidden = part({"model/.wh.x": b""}, kind="tar", is_known=False)
    with pytest.raises(UnsafeError):
        list(layer_chunks(*plan_layers([hidden], room=10)))


def test_files_share_layers_where_there_is_little_room() -> None:
    parts = [part({f"model/{number}": bytes(1 << 20)}) for number in range(10)]

    assert [len(layer.parts) for layer in plan_layers(parts, room=11)] == [1] * 10 + [0]
    assert [len(layer.parts) for layer in plan_layers(parts, room=5)] == [3, 3, 3, 1, 0]
    assert [len(layer.parts) for layer in plan_layers(parts, room=1)] == [10]


@given(st.text("abcdé/", min_size=1, max_size=150), st.text("abcdé./", min_size=1, max_size=150))
@settings(max_examples=40)
def test_python_reads_links_of_any_length(name: str, target: str) -> None:
    name = "/".join(filter(None, name.split("/"))) or "a"
    raw = link_header(name, target) + bytes(1024)

    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        (member,) = archive.getmembers()

    assert (member.issym(), member.name, member.linkname) == (True, name, target)


@pytest.mark.parametrize("text", ["linux", "linux/", "Linux/amd64", "linux/amd64/v1/x", "linux/am d", "", "/"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Platform.parse(text)


def test_a_variant_that_was_not_asked_for_does_not_matter() -> None:
    assert Platform.parse("linux/arm64").is_met_by(Platform.parse("linux/arm64/v8"))
    assert Platform.parse("linux/arm64/v8").is_met_by(Platform.parse("linux/aarch64"))
    assert not Platform.parse("linux/arm/v7").is_met_by(Platform.parse("linux/arm/v6"))
    assert not Platform.parse("linux/amd64").is_met_by(Platform.parse("linux/arm64"))


def test_places_are_told_apart() -> None:
    assert parse_base("scratch").kind == "scratch"
    assert parse_base("oci-archive:a.tar").name is None
    assert (parse_target("oci:a/b:1.2").path.name, parse_target("oci:a/b:1.2").name) == ("b", "1.2")  # type: ignore[union-attr]  # it has one
    assert parse_target("docker-archive:a.tar:team/x:1").name == "team/x:1"
    assert parse_target("localhost:5000/oci:1").kind == "registry"
