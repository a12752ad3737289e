"""Layers that arrive broken once, and layers that always do."""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from tests.packing.test_unpack import BIG, DATA, files, kit_of, tree
from tests.support.kits import Layer, modelpack_kit, tar_of

from mlkit.content.memory import MemoryStore
from mlkit.content.verify import VerifyReader
from mlkit.errors import IntegrityError
from mlkit.packing.kit import load_kit
from mlkit.packing.select import select
from mlkit.packing.unpack import unpack
from mlkit.progress import NoProgress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import FILEPATH

SMALL = {"data/small": b"small" * 100}
MANY = {f"data/{name}": os.urandom(5000) for name in "abcdef"}


class Corrupting:
    """A store behind a proxy that changes the bytes of each blob so many times."""

    def __init__(self, store: MemoryStore, change: Callable[[bytes], bytes], times: int = 1) -> None:
        self.store = store
        self.change = change
        self.times = times
        self.opened: Counter[str] = Counter()
        self.lock = threading.Lock()

    def exists(self, desc: Descriptor) -> bool:
        return self.store.exists(desc)

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        with self.store.open(desc) as stream:
            raw = stream.read()
        with self.lock:
            self.opened[str(desc.digest)] += 1
            if self.opened[str(desc.digest)] <= self.times:
                raw = self.change(raw)
        stream = io.BytesIO(raw[offset:])
        return cast(BinaryIO, stream if offset else VerifyReader(stream, desc))


class Counted(NoProgress):
    """Bytes that progress was told of."""

    def __init__(self) -> None:
        self.bytes = 0
        self.lock = threading.Lock()

    def advance(self, key: str, count: int) -> None:
        with self.lock:
            self.bytes += count


def flip(raw: bytes) -> bytes:
    """A bit of the last third: a third of a tar is written by then."""
    place = len(raw) * 2 // 3
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


@pytest.mark.parametrize(
    "layer",
    [
        Layer("datasets[0]", SMALL),
        Layer("datasets[0]", {"data/big": BIG}),
        Layer("datasets[0]", {"data/big": BIG}, compression="zstd"),
        Layer("datasets[0]", MANY, kind="tar"),
        Layer("datasets[0]", MANY, kind="tar", compression="gzip"),
    ],
    ids=["small", "big", "compressed", "tar", "tar.gz"],
)
@pytest.mark.parametrize("change", [flip, lambda raw: raw[:-1]], ids=["a-bit", "short"])
def test_a_layer_that_arrives_broken_once_is_read_once_more(layer: Layer, change: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(store, layer)
    proxied = Corrupting(store, change)
    progress = Counted()

    unpack(kit, proxied, tmp_path / "out", progress=progress)

    assert files(tmp_path / "out") == {**layer.files, "Kitfile": DATA.encode()}
    assert set(proxied.opened.values()) == {2}
    assert progress.bytes == kit.layers[0].desc.size


@pytest.mark.parametrize("layer", [Layer("datasets[0]", SMALL), Layer("datasets[0]", MANY, kind="tar")])
def test_a_layer_that_is_broken_twice_is_refused_and_not_read_a_third_time(layer: Layer, tmp_path: Path) -> None:
    store = MemoryStore()
    kit = kit_of(store, layer)
    proxied = Corrupting(store, flip, times=2)

    with pytest.raises(IntegrityError):
        unpack(kit, proxied, tmp_path / "out")

    assert set(proxied.opened.values()) == {2}
    assert os.listdir(tmp_path) == []


def test_a_file_out_of_a_tar_that_arrives_broken_once_is_read_once_more(tmp_path: Path) -> None:
    store = MemoryStore()
    content = {"data/a": b"a" * 10, "data/b": b"b" * 10, "data/big": b"b" * 2_000_000}
    kit = kit_of(store, Layer("datasets[0]", content, kind="tar"))
    proxied = Corrupting(store, lambda raw: raw.replace(b"b" * 10, b"B" * 10, 1))

    unpack(kit, proxied, tmp_path / "out", selection=select(kit, ["data/a", "data/b"]))

    assert files(tmp_path / "out") == {"data/a": b"a" * 10, "data/b": b"b" * 10}


@pytest.mark.parametrize(
    ("broken_name", "is_unpacked"), [("data/dir/z", True), ("data/dis/x", False)], ids=["file", "directory"]
)
def test_what_only_the_broken_tar_of_another_tool_holds_is_never_kept(
    broken_name: str, is_unpacked: bool, tmp_path: Path
) -> None:
    rest = {"data/rest": os.urandom(3_000_000)}  # so that the first file is written before anyone knows
    sound, broken = tar_of({"data/dir/x": b"content", **rest}), tar_of({broken_name: b"content", **rest})
    store = MemoryStore()
    kit = load_kit(store, modelpack_kit(store, [("dataset.v1.tar", sound, {FILEPATH: "data"})]))
    proxied = Corrupting(store, lambda _: broken)

    if is_unpacked:
        unpack(kit, proxied, tmp_path / "out", selection=select(kit, ["datasets"]))

        assert files(tmp_path / "out") == {"data/dir/x": b"content", **rest}
    else:
        with pytest.raises(IntegrityError):
            unpack(kit, proxied, tmp_path / "out")

        assert tree(tmp_path) == {}
