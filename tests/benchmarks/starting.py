"""Start-up, as ratios to a Python that does nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MLKIT, Result, compare, run

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

_ROUNDS = 25


def measure(bench: Bench) -> Iterator[Result]:
    environ = os.environ | {"MLKIT_HOME": str(bench.folder / "store")}
    project = bench.folder / "project"
    project.mkdir()
    (project / "weights.bin").write_bytes(b"weights")
    (project / "Kitfile").write_text('manifestVersion: "1.0.0"\nmodel: {path: weights.bin}\n', encoding="utf-8")
    tags = ",".join(f"v{number}" for number in range(100))
    run([MLKIT, "pack", project, "-t", f"team/kits:{tags}", "--quiet"], environ=environ)
    for arguments, limit in ((["version"], 3.0), (["--help"], 8.0), (["list"], 16.0)):
        yield compare(
            f"mlkit {' '.join(arguments)}" + (" of 100 kits" if arguments == ["list"] else ""),
            limit,
            lambda arguments=arguments: run([MLKIT, *arguments], environ=environ),
            lambda: run([sys.executable, "-c", "pass"]),
            rounds=_ROUNDS,
            labels=["python -c pass"],
        )
