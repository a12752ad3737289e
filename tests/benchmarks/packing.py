"""Packing against hashing and copying, and many small files against tar."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, Run, compare, random_file, run, shell

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_MEMORY = "/dev/shm"  # a tmpfs, where no disk is the limit
_KITFILE = 'manifestVersion: "1.0.0"\n{section}\n'


def measure(bench: Bench) -> Iterator[Result]:
    yield from _one_and_eight(bench)
    yield _small_files(bench)


def _one_and_eight(bench: Bench) -> Iterator[Result]:
    one, eight, store = bench.folder / "one", bench.folder / "eight", bench.folder / "store"
    project(one, [bench.size])
    project(eight, [bench.size // 8] * 8)
    large = one / "data/part-0.bin"

    def clean() -> None:
        shutil.rmtree(store, ignore_errors=True)
        (bench.folder / "copy").unlink(missing_ok=True)

    yield compare(
        f"pack of one file of {bench.size // MIB} MiB, durable",
        1.15,
        lambda: pack(one, store),
        lambda: shell('openssl dgst -sha256 "$F"', F=large),
        lambda: shell('cp "$F" "$G" && sync "$G"', F=large, G=bench.folder / "copy"),
        rounds=bench.rounds,
        labels=["openssl dgst", "cp + sync"],
        between=clean,
    )
    yield compare(
        "pack of the same in eight files, against one",
        0.75,
        lambda: pack(eight, store),
        lambda: pack(one, store),
        rounds=bench.rounds,
        labels=["one file"],
        between=clean,
    )
    with tempfile.TemporaryDirectory(prefix="mlkit-bench-", dir=_MEMORY) as memory:
        # Projects and store, twice over.
        if shutil.disk_usage(memory).free > 4 * bench.size:
            yield _without_disk(bench, Path(memory))
    clean()
    warm = bench.folder / "warm"
    pack(one, warm)
    yield compare(
        "pack again, unchanged",
        0.05,
        lambda: pack(one, warm),
        lambda: pack(one, store),
        rounds=bench.rounds,
        labels=["first pack"],
        between=clean,
    )


def _without_disk(bench: Bench, memory: Path) -> Result:
    one, eight, store = memory / "one", memory / "eight", memory / "store"
    project(one, [bench.size])
    project(eight, [bench.size // 8] * 8)
    return compare(
        "pack of eight files against one, in memory",
        0.75,
        lambda: pack(eight, store),
        lambda: pack(one, store),
        rounds=bench.rounds,
        labels=["one file"],
        between=lambda: shutil.rmtree(store, ignore_errors=True),
    )


def _small_files(bench: Bench) -> Result:
    folder, store = bench.folder / "small", bench.folder / "small-store"
    data = folder / "data"
    data.mkdir(parents=True)
    content = os.urandom(20_000)
    for number in range(20_000):
        (data / f"{number:05d}.bin").write_bytes(content[number % 10_000 : number % 10_000 + 10_000])
    _write_kitfile(folder)
    return compare(
        "pack of 20,000 files of 10 KB",
        1.5,
        lambda: pack(folder, store),
        lambda: shell('tar -C "$D" -c data | tee "$T" | sha256sum >/dev/null', D=folder, T=bench.folder / "small.tar"),
        rounds=bench.rounds,
        labels=["tar | tee | sha256sum"],
        between=lambda: shutil.rmtree(store, ignore_errors=True),
    )


def project(folder: Path, sizes: list[int]) -> None:
    """A project with one dataset of files of these sizes."""
    (folder / "data").mkdir(parents=True)
    for number, size in enumerate(sizes):
        random_file(folder / f"data/part-{number}.bin", size)
    _write_kitfile(folder)


def pack(folder: Path, store: Path, *, reference: str = "bench:1", layers: str = "auto") -> Run:
    command = [MLKIT, "pack", folder, "-t", reference, "--layers", layers, "--quiet"]
    return run(command, environ=os.environ | {"MLKIT_HOME": str(store)})


def _write_kitfile(folder: Path) -> None:
    section = "datasets: [{name: data, path: data}]"
    (folder / "Kitfile").write_text(_KITFILE.format(section=section), encoding="utf-8")
