"""The store: a tag among many, made durable, from opening the store to the last fsync."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Result
from tests.content.contract import push_manifest

from mlkit.content.index import Entry, LayoutIndex
from mlkit.content.layout import Layout

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_ROUNDS = 15
_LIMITS = {1_000: 30.0, 20_000: 150.0}
"""Milliseconds by the number of names."""


def measure(bench: Bench) -> Iterator[Result]:
    for count, limit in _LIMITS.items():
        root = bench.folder / f"names-{count}"
        layout = Layout.create(root)
        desc = push_manifest(layout, b"layer").descriptor
        lines = tuple(Entry.of(desc, f"registry.example/team/digits:{number}").text for number in range(count))
        with layout.lock.exclusive():
            layout.index_file.change(lambda index, lines=lines: LayoutIndex(index.fields, lines))
        spent = []
        for number in range(_ROUNDS):
            started = time.perf_counter()
            Layout.at(root).tag(desc, f"registry.example/team/more:{number}")
            spent.append((time.perf_counter() - started) * 1000)
        worst = max(spent)
        median = statistics.median(spent)
        yield Result(f"tag among {count:,} names", median, limit, "ms", f"slowest of {_ROUNDS} {worst:.1f} ms")
