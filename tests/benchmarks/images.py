"""Building an image against pushing the same bytes, building the next version, and unpacking where a server starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, Run, compare, peak_bytes, random_file, run
from tests.benchmarks.packing import pack
from tests.benchmarks.transfers import environ, mlkit
from tests.support.docker_registry import docker_registry
from tests.support.fault_proxy import fault_proxy

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_MEMORY_LIMIT = 120.0  # MiB
_SHARDS = 4
_KITFILE = 'manifestVersion: "1.0.0"\nmodel: {name: bench, path: model}\n'


def measure(bench: Bench) -> Iterator[Result]:
    one, shards, store = bench.folder / "one", bench.folder / "shards", bench.folder / "store"
    _model(one, [bench.size])
    _model(shards, [bench.size // _SHARDS] * _SHARDS)
    pack(one, store, reference="bench:one")
    pack(shards, store, reference="bench:shards")
    yield from _builds(bench, store)
    yield from _next_version(bench, store, shards)
    yield from _unpacking(bench, store)


def _builds(bench: Bench, store: Path) -> Iterator[Result]:
    number = iter(range(1_000_000))

    def build(tag: str) -> Run:
        # What an earlier build knows would make this one as quick as a look at the registry.
        (store / ".mlkit/image-layers.sqlite").unlink(missing_ok=True)
        with docker_registry(bench.folder / f"registry-{next(number)}") as host:
            return mlkit(store, "image", "build", f"bench:{tag}", "--base", "scratch", "-t", f"{host}/image:{tag}")

    def push(tag: str) -> Run:
        with docker_registry(bench.folder / f"registry-{next(number)}") as host:
            return mlkit(store, "push", f"bench:{tag}", f"{host}/bench:{tag}")

    def clean() -> None:
        for folder in bench.folder.glob("registry-*"):
            shutil.rmtree(folder)

    for tag in ("one", "shards"):
        yield compare(
            f"image build of {'one file' if tag == 'one' else f'{_SHARDS} files'}, against push of the same bytes",
            1.3,
            lambda tag=tag: build(tag),
            lambda tag=tag: push(tag),
            rounds=bench.rounds,
            labels=["push"],
            between=clean,
        )
    clean()
    (store / ".mlkit/image-layers.sqlite").unlink(missing_ok=True)
    with docker_registry(bench.folder / "registry-memory") as host:
        command = [MLKIT, "image", "build", "bench:shards", "--base", "scratch", "-t", f"{host}/image:1", "--quiet"]
        peak, seconds = peak_bytes(command, environ=environ(store))
    size = f"{bench.size // MIB} MiB"
    yield Result(f"peak memory, image build of {size}", peak / MIB, _MEMORY_LIMIT, "MiB", f"{seconds:.1f} s")


def _next_version(bench: Bench, store: Path, shards: Path) -> Iterator[Result]:
    with docker_registry(bench.folder / "registry-versions") as host:
        before = _built(store, "bench:shards", f"{host}/image:1")
        random_file(shards / "model/part-0.bin", bench.size // _SHARDS)
        pack(shards, store, reference="bench:next")
        after = _built(store, "bench:next", f"{host}/image:2")
    shard = bench.size // _SHARDS
    yield Result(
        "image build after a change of one file of four: moved beyond that file",
        (after - shard) / 1024,
        64,
        "KiB",
        f"first build {before / MIB:.0f} MiB, next build {after / MIB:.0f} MiB",
    )


def _unpacking(bench: Bench, store: Path) -> Iterator[Result]:
    here, files = bench.folder / "here", bench.folder / "files"

    def clean() -> None:
        for folder in (here, files):
            shutil.rmtree(folder, ignore_errors=True)

    with docker_registry(bench.folder / "registry-unpack") as host:
        mlkit(store, "push", "bench:shards", f"{host}/bench:shards")
        yield compare(
            "unpack from a registry, as in an init container, against pull",
            1.15,
            lambda: mlkit(here, "unpack", f"{host}/bench:shards", "-d", str(files)),
            lambda: mlkit(here, "pull", f"{host}/bench:shards"),
            rounds=bench.rounds,
            labels=["pull"],
            between=clean,
        )
        yield _over_slow_connections(bench, store, host, clean)
    clean()


def _over_slow_connections(bench: Bench, store: Path, host: str, clean: Callable[[], None]) -> Result:
    """One large file, from where each connection alone would take twelve seconds."""
    mlkit(store, "push", "bench:one", f"{host}/bench:one")
    rate = bench.size // 12
    with fault_proxy(host) as proxy:
        proxy.downloads.rate = rate

        def unpack(ranges: str) -> Run:
            command = [MLKIT, "unpack", f"{proxy.host}/bench:one", "-d", str(bench.folder / "files"), "--quiet"]
            return run(command, environ=environ(bench.folder / "here") | {"MLKIT_RANGES": ranges})

        return compare(
            f"unpack of one file, each connection at {rate // MIB} MiB/s, against one connection",
            0.75,
            lambda: unpack("auto"),
            lambda: unpack("off"),
            rounds=min(bench.rounds, 3),
            labels=["one connection"],
            between=clean,
        )


def _built(store: Path, reference: str, target: str) -> int:
    command = [MLKIT, "image", "build", reference, "--base", "scratch", "-t", target, "--json", "--quiet"]
    done = subprocess.run(command, env=environ(store), stdout=subprocess.PIPE, check=True)
    moved = json.loads(done.stdout)["moved_bytes"]
    assert isinstance(moved, int)
    return moved


def _model(folder: Path, sizes: list[int]) -> None:
    (folder / "model").mkdir(parents=True)
    for number, size in enumerate(sizes):
        random_file(folder / f"model/part-{number}.bin", size)
    (folder / "Kitfile").write_text(_KITFILE)
    os.sync()
