"""Each limit of an archive: what is at it is taken, and what is one past it is not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard
from tests.support import tars

from mlkit.archive.compression import decompressed
from mlkit.archive.extract import Staging, extract_tar
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.errors import LimitError, StoreError
from mlkit.spec.limits import ListLimits

Read = Callable[[Path, Limits], object]


def _extract(stream: BinaryIO) -> Read:
    def read(folder: Path, limits: Limits) -> object:
        stream.seek(0)
        with Staging(folder / "out") as staging:
            return extract_tar(stream, staging, limits=limits)

    return read


def _named(name: str) -> Read:
    return _extract(tars.archive(tars.pax(tars.record("path", name)), tars.file("x", b"x")))


def _expand(packed: bytes, kind: str) -> Read:
    import io

    def read(_: Path, limits: Limits) -> object:
        stream = decompressed(io.BytesIO(packed), "gzip" if kind == "gzip" else "zstd", limits=limits)
        size = 0
        while chunk := stream.read(1 << 16):
            size += len(chunk)
        return size

    return read


def _zstd(window: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(b"x" * 10) + packer.flush()


ZEROS = gzip.compress(bytes(1 << 20))

CASES: dict[str, tuple[Limits, Read, Read]] = {
    "entries": (
        Limits(entries=3),
        _extract(tars.archive(*[tars.file(f"f{number}") for number in range(3)])),
        _extract(tars.archive(*[tars.file(f"f{number}") for number in range(4)])),
    ),
    "path_bytes": (Limits(path_bytes=100), _named("a/" * 49 + "bb"), _named("a/" * 49 + "bbb")),
    "component_bytes": (Limits(component_bytes=20), _named("a/" + "b" * 20), _named("a/" + "b" * 21)),
    "depth": (Limits(depth=5), _named("a/b/c/d/e"), _named("a/b/c/d/e/f")),
    "pax_header": (
        Limits(pax_header=512),
        _extract(tars.archive(tars.pax(tars.record("comment", "x" * 499)), tars.file("z"))),
        _extract(tars.archive(tars.pax(tars.record("comment", "x" * 500)), tars.file("z"))),
    ),
    "padding": (
        Limits(padding=1024),
        _extract(tars.archive(tars.file("x"), end=tars.END + bytes(1024))),
        _extract(tars.archive(tars.file("x"), end=tars.END + bytes(1536))),
    ),
    "max_size": (
        Limits(max_size=1 << 20, ratio=10**9),
        _expand(ZEROS, "gzip"),
        _expand(gzip.compress(bytes((1 << 20) + 1)), "gzip"),
    ),
    "ratio": (
        Limits(ratio=-(-(1 << 20) // len(ZEROS)), ratio_after=0),
        _expand(ZEROS, "gzip"),
        _expand(gzip.compress(bytes(3 << 20)), "gzip"),
    ),
    "ratio_after": (
        Limits(ratio=1, ratio_after=1 << 20),
        _expand(ZEROS, "gzip"),
        _expand(gzip.compress(bytes((1 << 20) + (1 << 17))), "gzip"),
    ),
    "window": (Limits(window=1 << 20), _expand(_zstd(20), "zstd"), _expand(_zstd(21), "zstd")),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_at_a_limit_is_taken_and_one_past_it_is_refused(name: str, tmp_path: Path) -> None:
    limits, within, beyond = CASES[name]
    for folder in ("within", "beyond", "raised"):
        (tmp_path / folder).mkdir()

    within(tmp_path / "within", limits)
    beyond(tmp_path / "raised", DEFAULT_LIMITS)
    with pytest.raises(LimitError):
        beyond(tmp_path / "beyond", limits)

    assert not (tmp_path / "beyond/out").exists()


def test_the_share_of_the_disk_that_stays_free_is_kept(tmp_path: Path) -> None:
    stream = tars.archive(tars.file("x", b"x" * 1000))

    with pytest.raises(StoreError, match="no space"):
        _extract(stream)(tmp_path, Limits(disk_reserve_percent=100))


def test_every_limit_has_its_case() -> None:
    elsewhere = {field.name for field in fields(ListLimits)} | {"disk_reserve_percent", "scan_members", "scan_bytes"}

    assert {field.name for field in fields(Limits)} == {*CASES} | elsewhere
    assert DEFAULT_LIMITS.entries >= 1_000_000
