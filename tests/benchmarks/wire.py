"""Bad networks, killed commands, repeated pushes: what they cost in bytes and requests; eight blobs against skopeo."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, Run, compare, peak_bytes, run
from tests.benchmarks.packing import pack, project
from tests.benchmarks.transfers import environ, layers, mlkit
from tests.support.docker_registry import docker_registry
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.tools import find_tool

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_LAYERS = 100
_MEMORY_LIMIT = 120.0  # MiB


def measure(bench: Bench) -> Iterator[Result]:
    size = bench.size // 2
    one, eight, many, store = (bench.folder / name for name in ("one", "eight", "many", "store"))
    project(one, [size])
    project(eight, [bench.size // 8] * 8)
    # The kit document is a layer too.
    project(many, [64 * 1024] * (_LAYERS - 1))
    for folder in (one, eight, many):
        pack(folder, store, reference=f"bench:{folder.name}", layers="raw")
        shutil.rmtree(folder)
    assert len(layers(store, "bench:many")) == _LAYERS
    for release in ("docker-registry", "distribution"):
        if find_tool(release) is not None:
            yield from _resets(bench, store, size, release)
            yield from _kills(bench, store, size, release)
    yield from _again(bench, store)
    yield from _against_skopeo(bench, store)
    yield from _memory(bench, store)


@contextmanager
def _registry(bench: Bench, release: str = "docker-registry") -> Iterator[FaultProxy]:
    """A proxy before an empty registry, whose files go away with it."""
    folder = bench.folder / "registry"
    try:
        with docker_registry(folder, release) as host, fault_proxy(host) as proxy:
            yield proxy
    finally:
        shutil.rmtree(folder)


def _resets(bench: Bench, store: Path, size: int, release: str) -> Iterator[Result]:
    part, here = size // 16, bench.folder / "pulled"
    what = f"{size // MIB} MiB, each connection reset after {part // MIB} MiB, {release}: bytes moved"
    with _registry(bench, release) as proxy:
        for verb, way in (("push", proxy.uploads), ("pull", proxy.downloads)):
            fault = Fault("reset", age=part)
            way.faults.append(fault)
            proxy.forget()
            spent = mlkit(*_command(verb, store, here, proxy))
            way.faults.clear()
            moved = proxy.sent + proxy.received
            yield Result(f"{verb} of {what}", moved / size, 1.10, "x", f"{fault.struck} resets, {spent.seconds:.1f} s")
    shutil.rmtree(here)


def _kills(bench: Bench, store: Path, size: int, release: str) -> Iterator[Result]:
    here = bench.folder / "pulled"
    with _registry(bench, release) as proxy:
        for verb in ("push", "pull"):
            proxy.forget()
            arguments = _command(verb, store, here, proxy)
            _killed_at(proxy, size // 2, arguments)
            before = proxy.sent + proxy.received
            mlkit(*arguments)
            moved = proxy.sent + proxy.received
            yield Result(
                f"{verb} of {size // MIB} MiB, killed half-way and given again, {release}: bytes moved",
                moved / size,
                1.15,
                "x",
                f"{before / MIB:.0f} MiB before, {(moved - before) / MIB:.0f} MiB after",
            )
    shutil.rmtree(here)


def _command(
    verb: str, store: Path, here: Path, proxy: FaultProxy
) -> tuple[Path, str, str] | tuple[Path, str, str, str]:
    reference = f"{proxy.host}/bench:one"
    return (store, "push", "bench:one", reference) if verb == "push" else (here, "pull", reference)


def _killed_at(proxy: FaultProxy, count: int, arguments: tuple[Path, *tuple[str, ...]]) -> None:
    store, *rest = arguments
    with subprocess.Popen([MLKIT, *rest, "--quiet"], env=environ(store)) as process:
        while proxy.sent + proxy.received < count:
            if process.poll() is not None:
                raise SystemExit(f"{rest[0]} ended before it was killed: exit {process.returncode}")
            time.sleep(0.002)
        process.kill()


def _again(bench: Bench, store: Path) -> Iterator[Result]:
    with _registry(bench) as proxy:
        reference = f"{proxy.host}/bench:many"
        mlkit(store, "push", "bench:many", reference)
        proxy.forget()
        mlkit(store, "push", "bench:many", reference)
        blobs = sum(exchange.sent for exchange in proxy.seen("(PATCH|PUT|POST) .*/blobs/.*"))
        requests = len(proxy.exchanges)
        detail = f"{blobs} bytes of blobs"
        yield Result(f"push of {_LAYERS} layers that are there: requests", requests, 110, "", detail)
        command = (store, "push", "bench:many", f"{proxy.upstream}/bench:many")
        mlkit(*command)
        seconds = statistics.median(mlkit(*command).seconds for _ in range(bench.rounds))
        start = statistics.median(run([MLKIT, "--version"]).seconds for _ in range(bench.rounds))
        detail = f"with {start:.2f} s for the start of the program"
        yield Result(f"push of {_LAYERS} layers that are there: seconds", seconds, 0.5, "s", detail)


def _against_skopeo(bench: Bench, store: Path) -> Iterator[Result]:
    if shutil.which("skopeo") is None:
        return
    here, target = bench.folder / "pulled", bench.folder / "layout"
    what = f"8 x {bench.size // 8 // MIB} MiB, against skopeo"
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    number = iter(range(1_000_000))

    def clean() -> None:
        for folder in (here, target, *bench.folder.glob("registry-*")):
            shutil.rmtree(folder, ignore_errors=True)

    def push_with(is_ours: bool) -> Run:
        with docker_registry(bench.folder / f"registry-{next(number)}") as host:
            if is_ours:
                return mlkit(store, "push", "bench:eight", f"{host}/bench:eight")
            return run([*copy, f"oci:{store}:bench:eight", f"docker://{host}/bench:eight"])

    yield compare(
        f"push of {what}",
        1.0,
        lambda: push_with(True),
        lambda: push_with(False),
        rounds=bench.rounds,
        labels=["skopeo copy"],
        between=clean,
    )
    with docker_registry(bench.folder / "source") as host:
        mlkit(store, "push", "bench:eight", f"{host}/bench:eight")
        yield compare(
            f"pull of {what}",
            1.0,
            lambda: mlkit(here, "pull", f"{host}/bench:eight"),
            lambda: run([*copy, f"docker://{host}/bench:eight", f"oci:{target}:eight"]),
            rounds=bench.rounds,
            labels=["skopeo copy"],
            between=clean,
        )
    clean()
    shutil.rmtree(bench.folder / "source")


def _memory(bench: Bench, store: Path) -> Iterator[Result]:
    here = bench.folder / "pulled"
    with _registry(bench) as proxy:
        reference = f"{proxy.upstream}/bench:eight"
        for verb, home, words in (("push", store, ["bench:eight", reference]), ("pull", here, [reference])):
            command = [MLKIT, verb, *words, "--concurrency", "8", "--quiet"]
            peak, seconds = peak_bytes(command, environ=environ(home))
            name = f"peak memory, {verb} of {bench.size // MIB} MiB in 8 blobs at once"
            yield Result(name, peak / MIB, _MEMORY_LIMIT, "MiB", f"{seconds:.1f} s")
    shutil.rmtree(here)
