"""Two sides measured in one run, in turn, and told as a ratio of medians."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MLKIT = shutil.which("mlkit", path=str(Path(sys.executable).parent)) or "mlkit"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Result:
    """One line of the report. `value` is the ratio (or the figure in `unit`); smaller is better."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int


def run(command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Run:
    """Run to its end, and say how long it took and how much memory it held. Raises: SystemExit where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], env=environ, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    talk = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{talk.decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss * 1024)


def shell(script: str, **variables: str | Path) -> Run:
    """Run a bash pipeline; `variables` are its environment."""
    environ = os.environ | {name: str(value) for name, value in variables.items()}
    return run(["bash", "-euo", "pipefail", "-c", script], environ=environ)


def compare(
    name: str,
    limit: float,
    ours: Callable[[], Run],
    *theirs: Callable[[], Run],
    rounds: int,
    labels: Sequence[str],
    between: Callable[[], None] = lambda: None,
) -> Result:
    """The ratio of our median to the largest median of the others, each round measuring all sides once."""
    times: list[list[float]] = [[] for _ in range(1 + len(theirs))]
    for _ in range(rounds):
        for side, measure in enumerate((ours, *theirs)):
            between()
            times[side].append(measure().seconds)
    medians = [statistics.median(side) for side in times]
    detail = ", ".join(f"{label} {median:.3f} s" for label, median in zip(("mlkit", *labels), medians, strict=True))
    return Result(name, medians[0] / max(medians[1:]), limit, "x", f"{detail} (medians of {rounds})")


def random_file(path: Path, size: int) -> Path:
    """A file of `size` bytes that neither compresses nor repeats, in the page cache."""
    block = os.urandom(min(size, 16 * MIB))
    with path.open("wb") as stream:
        for number in range(size // len(block)):
            stream.write(number.to_bytes(8, "big") + block[8:])
    return path
