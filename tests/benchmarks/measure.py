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


# Linux counts into a process's peak what its parent held when it forked (getrusage(2)), so a small parent stands
# between: it prints the peak in KiB, and is a Python without packages.
_SMALL_PARENT = """
import os, sys
child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
os.write(3, str(usage.ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_bytes(command: Sequence[str | Path], *, environ: Mapping[str, str]) -> tuple[int, float]:
    """The most memory that a command held, bytes, and its seconds. Raises: SystemExit where it fails."""
    read, write = os.pipe()
    with os.fdopen(read) as pipe:
        script = f'exec {sys.executable} -I -S -c "$0" "$@" 3>&{write}'
        spent = run(["bash", "-c", script, _SMALL_PARENT, *command], environ=environ, inherit=(write,))
        os.close(write)
        return int(pipe.read()) * 1024, spent.seconds


def run(command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, inherit: Sequence[int] = ()) -> Run:
    """Run to its end, and say how long it took. Raises: SystemExit where it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=inherit,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        talk = done.stderr.decode(errors="replace")
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{talk}")
    return Run(seconds)


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
