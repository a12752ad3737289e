"""One file out of a kit."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.packing.test_unpack import DATA, Watched, kit_of
from tests.support.kits import (
    DIGITS_KITFILE,
    DIGITS_LAYERS,
    Layer,
    compressed,
    digits_kit,
    kitops_kit,
    modelpack_kit,
    tar_of,
)

from mlkit.content.memory import MemoryStore
from mlkit.errors import DigestMismatch, IntegrityError, NotFoundError, SizeMismatch
from mlkit.packing.kit import Kit, load_kit
from mlkit.packing.read import open_file
from mlkit.packing.select import select
from mlkit.packing.unpack import unpack
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import FILEPATH


def read(kit: Kit, store: Any, path: str) -> bytes:
    with open_file(kit, store, path) as stream:
        return stream.read()


def test_every_file_of_a_kit_can_be_read() -> None:
    store = MemoryStore()
    kit = digits_kit(store)

    for layer in DIGITS_LAYERS:
        for path, content in layer.files.items():
            if not path.endswith("/"):
                assert read(kit, store, path) == content
                assert read(kit, store, f"./{path}") == content
    assert read(kit, store, "Kitfile") == DIGITS_KITFILE.encode()


@pytest.mark.parametrize("kind", ["raw", "tar"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("content", [b"", b"x", b"x" * 3_000_000], ids=len)
def test_files_of_all_sizes_in_all_kinds_of_layers(kind: Any, compression: Any, content: bytes) -> None:
    store = MemoryStore()
    kit = kit_of(store, Layer("datasets[0]", {"data/x": content}, kind=kind, compression=compression))

    assert read(kit, store, "data/x") == content


def test_only_the_bytes_of_the_file_are_read_from_a_tar() -> None:
    store = MemoryStore()
    content = {"data/a": b"a" * 2_000_000, "data/b": b"bbb", "data/c": b"c" * 2_000_000}
    watched = Watched(store)

    assert read(kit_of(store, Layer("datasets[0]", content, kind="tar")), watched, "data/b") == b"bbb"
    assert watched.read == 3


def test_a_file_that_is_not_there_is_named_with_those_that_are_like_it() -> None:
    store = MemoryStore()

    with pytest.raises(NotFoundError, match=r"README\.md"):
        read(digits_kit(store), store, "REDME.md")
    with pytest.raises(NotFoundError) as caught:
        read(digits_kit(store), store, "\x1b[31m" + "x" * 10_000)
    assert len(caught.value.message) < 400
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("kind", ["raw", "tar"])
def test_the_last_byte_of_a_damaged_file_is_not_given_out(kind: Any) -> None:
    store = MemoryStore()
    content = {"data/x": b"good" * 10}
    good = b"good" * 10 if kind == "raw" else tar_of(content)
    kit = kit_of(store, Layer("datasets[0]", content, kind=kind, stored=good.replace(b"goodgood", b"goodevil", 1)))
    got: list[bytes] = []

    def read_on() -> None:
        with open_file(kit, store, "data/x") as stream:
            while chunk := stream.read(7):
                got.append(chunk)

    with pytest.raises(DigestMismatch):
        read_on()
    assert len(b"".join(got)) < 40


def test_a_layer_that_ends_within_the_file_is_refused() -> None:
    store = MemoryStore()
    content = {"data/x": b"good" * 10}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar", stored=tar_of(content)[:520]))

    with pytest.raises(SizeMismatch):
        read(kit, store, "data/x")


def test_a_compressed_layer_without_the_file_is_refused() -> None:
    store = MemoryStore()
    content = {"data/x": b"x"}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar", compression="gzip", raw=tar_of({"data/y": b"x"})))

    with pytest.raises(IntegrityError, match="data/x"):
        read(kit, store, "data/x")


def test_a_file_in_a_tar_of_another_tool_is_found_by_reading_it() -> None:
    store = MemoryStore()
    layers = [
        ("weight.v1.raw", b"w", {FILEPATH: "m.bin"}),
        ("dataset.v1.tar", tar_of({"data/a": b"aa", "data/b": b"bb"}), {FILEPATH: "data"}),
        ("code.v1.tar", tar_of({"src/x.py": b"xx"}), {FILEPATH: "."}),
    ]
    kit = load_kit(store, modelpack_kit(store, layers))

    assert [read(kit, store, path) for path in ("m.bin", "data/b", "src/x.py")] == [b"w", b"bb", b"xx"]
    with pytest.raises(NotFoundError):
        read(kit, store, "data/c")


def test_a_file_in_a_tar_of_kitops_before_digests_is_found_by_its_path_in_the_kit() -> None:
    store = MemoryStore()
    kitfile = {"manifestVersion": "1.0.0", "model": {"path": "models/m"}}
    kit = load_kit(store, kitops_kit(store, kitfile, [("model.v1.tar", tar_of({"m/w.bin": b"w"}), {})]))

    assert read(kit, store, "models/m/w.bin") == b"w"


def test_a_compressed_raw_layer_of_another_tool_is_expanded() -> None:
    store = MemoryStore()
    layers = [("dataset.v1.raw+gzip", compressed(b"1,2\n", "gzip"), {FILEPATH: "d.csv"})]
    kit = load_kit(store, modelpack_kit(store, layers))

    assert read(kit, store, "d.csv") == b"1,2\n"


def test_nothing_of_a_damaged_tar_of_another_tool_is_given_out(tmp_path: Path) -> None:
    store = MemoryStore()
    raw = tar_of({"data/a": b"aa"})
    kit = load_kit(store, modelpack_kit(store, [("dataset.v1.tar", raw, {FILEPATH: "data"})]))
    store._blobs[kit.layers[0].desc.digest] = raw[:-1] + b"x"

    with pytest.raises(IntegrityError), open_file(kit, store, "data/a"):
        pytest.fail("the stream was opened before the layer was verified")


def test_the_kitfile_of_a_kit_is_its_authors() -> None:
    store = MemoryStore()

    assert read(kit_of(store), store, "Kitfile") == DATA.encode()


class RangedStore(MemoryStore):
    """A store that is asked for parts, and keeps a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[int] = []

    def open_range(
        self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
    ) -> AbstractContextManager[BinaryIO]:
        self.ranges.append(length)
        return io.BytesIO(self._blobs[desc.digest][offset : offset + length])


def test_a_store_that_knows_ranges_is_asked_for_no_more_than_the_file(tmp_path: Path) -> None:
    store = RangedStore()
    content = {"data/a": b"aa", "data/big": b"b" * 2_000_000, "data/empty": b"", "data/z": b"zz"}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar"))

    assert [read(kit, store, path) for path in content] == list(content.values())
    assert store.ranges == [2, 2_000_000, 2]


def test_files_without_bytes_are_taken_from_a_tar_without_asking_for_anything(tmp_path: Path) -> None:
    store = RangedStore()
    content = {"data/big": b"b" * 2_000_000, "data/empty": b""}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar"))

    unpack(kit, store, tmp_path / "out", selection=select(kit, ["data/empty"]))

    assert (tmp_path / "out/data/empty").read_bytes() == b""
    assert store.ranges == []
