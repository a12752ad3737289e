"""Every figure of docs/reference/performance.md: `make bench`, or this module with `--only pack --size 512`.

Exits 1 where a figure is over its limit, so that a change that costs speed does not go unseen.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import (
    extracting,
    images,
    lineage,
    packing,
    releases,
    scanning,
    serving,
    starting,
    store,
    transfers,
    verifying,
    wire,
)
from tests.benchmarks.measure import MIB, Result

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Bench:
    """What a benchmark is told."""

    folder: Path
    size: int
    rounds: int


GROUPS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "start": starting.measure,
    "pack": packing.measure,
    "transfer": transfers.measure,
    "wire": wire.measure,
    "store": store.measure,
    "image": images.measure,
    "lineage": lineage.measure,
    "release": releases.measure,
    "verify": verifying.measure,
    "extract": extracting.measure,
    "scan": scanning.measure,
    "serve": serving.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(GROUPS), action="append")
    parser.add_argument("--size", type=int, default=2048, help="MiB of the large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; a disk, not tmpfs")
    parser.add_argument("--write", type=Path, help="a page between whose figure marks the table is written")
    arguments = parser.parse_args()
    results: list[Result] = []
    for name in arguments.only or GROUPS:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlkit-bench-", dir=arguments.folder)))
            for result in GROUPS[name](Bench(folder, arguments.size * MIB, arguments.rounds)):
                print(f"{'ok  ' if result.is_met else 'OVER'} {_line(result)}", flush=True)
                results.append(result)
    if arguments.write is not None:
        _write(arguments.write, results, arguments.size)
    return 0 if all(result.is_met for result in results) else 1


def _line(result: Result) -> str:
    return f"{result.name}: {result.value:.2f} {result.unit} (limit {result.limit:g} {result.unit}); {result.detail}"


def _write(page: Path, results: list[Result], size: int) -> None:
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    kernel = platform.release().partition("-")[0]
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux {kernel}, large file {size} MiB"
    tools = ", ".join(name for name in ("skopeo", "docker-registry", "openssl", "curl") if shutil.which(name))
    rows = "\n".join(_row(result) for result in results)
    table = f"Measured on {where}; peers: {tools}.\n\n| what | figure | limit | medians |\n|---|---|---|---|\n{rows}\n"
    page.write_text(f"{head}{BEGIN}\n\n{table}\n{END}{tail}", encoding="utf-8")


def _row(result: Result) -> str:
    figure = f"{result.value:.2f} {result.unit}".strip()
    cells = (
        result.name,
        figure if result.is_met else f"**{figure}**",
        f"{result.limit:g} {result.unit}".strip(),
        result.detail,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
