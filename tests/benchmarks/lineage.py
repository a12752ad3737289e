"""Lineage: a registry of ten thousand tags into the index and again, and a question to an index of a million kits."""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MIB, MLKIT, Result, peak_bytes, run
from tests.support.many_kits import fill, many_kits

from mlkit.lineage.ask import Questions, Subject
from mlkit.lineage.database import open_database
from mlkit.lineage.index import Index

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

TAGS = int(os.environ.get("MLKIT_BENCH_TAGS", "10000"))
KITS = int(os.environ.get("MLKIT_BENCH_KITS", "1000000"))
_QUESTIONS = 7


def measure(bench: Bench) -> Iterator[Result]:
    yield from _registry(bench)
    yield from _question(bench)


def _registry(bench: Bench) -> Iterator[Result]:
    many_kits(bench.folder / "registry", TAGS)
    environ = os.environ | {"MLKIT_HOME": str(bench.folder / "home"), "MLKIT_PLAIN_HTTP_HOSTS": "loopback"}
    with _served(bench.folder / "registry", environ) as host:
        first = run([MLKIT, "lineage", "index", host], environ=environ).seconds
        again = statistics.median(run([MLKIT, "lineage", "index", host], environ=environ).seconds for _ in range(3))
        run([MLKIT, "tag", f"{host}/team/many:v0", f"{host}/team/many:w0", "--remote"], environ=environ)
        changed = run([MLKIT, "lineage", "index", host, "--quick"], environ=environ).seconds
    detail = f"{TAGS} tags in {first:.1f} s, {TAGS / first:.0f} kits/s; mlkit registry serve on the same two cores"
    yield Result("lineage index: time for a kit", 1000 * first / TAGS, 1000 / 150, "ms", detail)
    yield Result(
        "lineage index again, nothing changed", again / first, 0.1, "x", f"{again:.2f} s against {first:.1f} s"
    )
    detail = f"{changed:.1f} s: one request for each tag"
    yield Result("lineage index again, one new tag, --quick", changed / first, 0.5, "x", detail)


def _question(bench: Bench) -> Iterator[Result]:
    path = bench.folder / "lineage.sqlite"
    index = Index(open_database(str(path), now=time.time).engine)
    key = fill(index, KITS)
    index.close()
    size = sum(file.stat().st_size for file in bench.folder.glob("lineage.sqlite*"))
    yield Result(f"lineage index of {KITS} kits: size", size / MIB, 1536 * KITS / 1_000_000, "MiB", "SQLite")
    command = [sys.executable, "-m", "tests.benchmarks.lineage", path, key]
    peak, _ = peak_bytes(command, environ=os.environ)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    detail = f"{told[1]} hits at depth 5 among {KITS} kits, median of {_QUESTIONS}, the first {float(told[2]):.0f} ms"
    yield Result("lineage trained-on", float(told[0]), 100, "ms", detail)
    yield Result(
        "lineage trained-on: peak memory", peak / MIB, 200, "MiB", f"the whole process, {_QUESTIONS} questions"
    )


@contextmanager
def _served(folder: Path, environ: dict[str, str]) -> Iterator[str]:
    command = [MLKIT, "registry", "serve", "--dir", str(folder), "--port", "0"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        found = re.search(r"[0-9.]+:[0-9]+", process.stdout.readline())
        assert found is not None
        try:
            yield found[0]
        finally:
            process.terminate()


def _ask(path: str, key: str) -> None:
    """In a process of its own: what was written before must not be in memory."""
    index = Index(open_database(path, now=time.time).engine)
    questions = Questions(index, keys=(), now=time.time, name=path)
    times: list[float] = []
    count = 0
    for _ in range(_QUESTIONS):
        started = time.perf_counter()
        answer = questions.trained_on(Subject("poison", {key: None}))
        times.append(1000 * (time.perf_counter() - started))
        count = len(answer.hits)
    print(statistics.median(times), count, times[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _ask(sys.argv[1], sys.argv[2])
