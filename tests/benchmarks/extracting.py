"""Unpacking a tar layer of the local store, every byte verified, against GNU tar and sha256sum on the same archive."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, Run, compare, random_file, run, shell
from tests.benchmarks.packing import pack
from tests.benchmarks.transfers import layers

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_LIMIT = 1.3
_BIG_FILES = 4
_SIZE = 512 * MIB  # bytes of the few big files together; less where --size is
_SMALL_FILES = 5_000
_SMALL = (4 * 1024, 64 * 1024)  # bytes of one small file, at least and at most
_PEER = 'sha256sum "$A" && mkdir "$D" && tar -C "$D" -xf "$A"'
_KITFILE = 'manifestVersion: "1.0.0"\ndatasets: [{name: data, path: data}]\n'


def measure(bench: Bench) -> Iterator[Result]:
    store = bench.folder / "store"
    size = min(_SIZE, bench.size)
    start = _start(bench, store)
    yield _against_tar(bench, store, "big", f"{_BIG_FILES} files, {size // MIB} MiB in all", start, size=size)
    low, high = (bound // 1024 for bound in _SMALL)
    yield _against_tar(bench, store, "small", f"{_SMALL_FILES:,} files of {low} to {high} KiB", start)


def _start(bench: Bench, store: Path) -> float:
    """Seconds that a kit of one small file takes."""
    folder = bench.folder / "tiny"
    (folder / "data").mkdir(parents=True)
    (folder / "data/one").write_bytes(b"1")
    (folder / "Kitfile").write_text(_KITFILE, encoding="utf-8")
    pack(folder, store, reference="bench:tiny", layers="tar")
    seconds = [_unpacked(bench, store, "tiny", place).seconds for place in range(bench.rounds)]
    _clean(bench)
    return statistics.median(seconds)


def _against_tar(bench: Bench, store: Path, tag: str, what: str, start: float, *, size: int = 0) -> Result:
    folder = bench.folder / tag
    _write_files(folder / "data", size)
    (folder / "Kitfile").write_text(_KITFILE, encoding="utf-8")
    pack(folder, store, reference=f"bench:{tag}", layers="tar")
    shutil.rmtree(folder)
    archive = store / "blobs/sha256" / layers(store, f"bench:{tag}")[0].partition(":")[2]
    os.sync()
    # Thousands of files go to a new place each time, and all of them at the end: ext4 gives no inode out again within
    # a minute and passes over each of those at every new file, so that who comes after a deletion pays for it.
    places = itertools.count()

    def clean() -> None:
        if size:
            _clean(bench)

    result = compare(
        f"unpack of a tar layer, {what}",
        _LIMIT,
        lambda: _unpacked(bench, store, tag, next(places)),
        lambda: shell(_PEER, A=archive, D=bench.folder / f"out-{next(places)}"),
        rounds=bench.rounds,
        labels=["sha256sum + tar -xf"],
        between=clean,
    )
    _clean(bench)
    return replace(result, detail=f"{result.detail}; the start of mlkit is {start:.2f} s of it")


def _clean(bench: Bench) -> None:
    for folder in bench.folder.glob("out-*"):
        shutil.rmtree(folder)


def _unpacked(bench: Bench, store: Path, tag: str, place: int) -> Run:
    target = bench.folder / f"out-{place}"
    command: list[str | Path] = [MLKIT, "unpack", f"bench:{tag}", "-d", target, "--quiet"]
    return run(command, environ=os.environ | {"MLKIT_HOME": str(store)})


def _write_files(folder: Path, size: int) -> None:
    """A few large files of `size` bytes in all, or thousands of small ones where that is 0, a hundred in a folder."""
    folder.mkdir(parents=True)
    if size:
        for number in range(_BIG_FILES):
            random_file(folder / f"part-{number}.bin", size // _BIG_FILES)
        return
    content, sizes = os.urandom(_SMALL[1]), random.Random(1)
    for number in range(_SMALL_FILES):
        place = folder / f"{number // 100:02d}"
        place.mkdir(exist_ok=True)
        tail = content[: sizes.randint(*_SMALL) - 8]
        (place / f"{number:04d}.bin").write_bytes(number.to_bytes(8, "big") + tail)
