"""Runs of mlkit that are killed, or whose system calls fail, at any chosen one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]

MUTATING = (
    "write,pwrite64,writev,ftruncate,truncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,"
    "mkdirat,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,utimensat,copy_file_range,sendfile,fallocate"
)
"""What changes a file or a folder. Not every architecture has each of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    code: int
    """Exit code, or minus the signal."""
    stdout: str
    stderr: str
    trace: str
    """What strace wrote down."""
    took: float
    """Seconds."""

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class TracingRefused(Exception):
    """strace may not attach here."""


@dataclass
class Machine:
    """A warm process that runs mlkit in children."""

    folder: Path
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)},
        )
        assert json.loads(self._line())["ready"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(
        self,
        environ: Mapping[str, str],
        cwd: Path,
        arguments: Sequence[str | Path],
        *,
        strace: Sequence[str] = (),
        limits: Mapping[str, int] | None = None,
        send: int = 0,
        after: float = 0.0,
    ) -> Outcome:
        """Run `mlkit ARGUMENTS`; `send` is a signal that comes `after` seconds. Raises: TracingRefused."""
        stdout, stderr, trace = (self.folder / name for name in ("stdout", "stderr", "trace"))
        trace.write_bytes(b"")
        request = {
            "environ": dict(environ),
            "cwd": str(cwd),
            "arguments": [str(argument) for argument in arguments],
            "stdout": str(stdout),
            "stderr": str(stderr),
            "strace": ["-o", str(trace), *strace] if strace else [],
            "limits": dict(limits or {}),
            "signal": send,
            "after": after,
        }
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._line())
        if answer["code"] is None:
            raise TracingRefused(answer["refused"])
        told, complained, traced = (
            path.read_text(encoding="utf-8", errors="replace") for path in (stdout, stderr, trace)
        )
        return Outcome(answer["code"], told, complained, traced, answer["took"])

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote died"
        return line


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine whose files are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Machine(folder)
    try:
        yield found
    finally:
        found.close()


def calls(names: str) -> str:
    """A set of system calls for strace, those that this architecture does not have left out."""
    return ",".join(f"?{name}" for name in names.split(","))


def tracing(names: str = MUTATING, *, paths: Sequence[Path] = ()) -> list[str]:
    """Arguments that write down every such call; of `paths` only, where there are any."""
    return [*(word for path in paths for word in ("-P", str(path))), "-y", "-e", f"trace={calls(names)}"]


def injecting(fault: str, when: str | int, names: str = MUTATING, *, paths: Sequence[Path] = ()) -> list[str]:
    """Arguments that let a fault (`signal=KILL`, `error=EIO`) happen at some of these calls, as strace(1) says it."""
    told = names if names.startswith(MUTATING) else f"{MUTATING},{names}"
    return [*tracing(told, paths=paths), "-e", f"inject={calls(names)}:{fault}:when={when}"]


@dataclass(frozen=True, slots=True)
class Point:
    """The so-and-so-many-th call of one kind; strace counts kinds and threads apart."""

    call: str
    number: int


def points_of(trace: str) -> list[Point]:
    """Every point of a run that was written down, in the order in which a run without threads passes them."""
    counted: Counter[tuple[str, str]] = Counter()
    found: dict[Point, None] = {}
    for thread, call in re.findall(r"^(\d+) +([a-z0-9_]+)\(", trace, re.MULTILINE):
        counted[thread, call] += 1
        found.setdefault(Point(call, counted[thread, call]))
    return list(found)


def spread(points: list[Point], sample: int) -> list[Point]:
    """At most `sample` of them, the first and the last among them, always the same."""
    if len(points) <= sample:
        return points
    return [points[round(number * (len(points) - 1) / (sample - 1))] for number in range(sample)]


def can_trace(found: Machine) -> str | None:
    """Why nothing can be injected here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        done = found.run({}, found.folder, ["version"], strace=injecting("error=EIO", "10000+"))
    except TracingRefused as error:
        return f"strace may not attach here: {error}"
    return None if "+++ exited" in done.trace or done.code == 0 else f"strace does not work here: {done.stderr}"
