"""Checks of a kit: programs that are run in its unpacked tree, with a time limit, and what they measured."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.release import supervisor
from mlkit.spec.bounds import Bound
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

TIMEOUT = 600.0
"""Seconds that a check may take which says nothing else."""
OUTPUT_LIMIT = 256 * 1024
"""Bytes of what a check printed that are kept: the last ones, where people look first."""
_METRICS_LIMIT = 1024 * 1024  # bytes; metrics are tens of numbers
_STATED_OUTPUT = 4096  # characters of the output that go into an attestation, which everybody can read
_GRACE = 10.0  # seconds that the supervisor has for killing

INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH")
INHERITED_PREFIXES = ("CUDA_", "NVIDIA_", "ROCM_", "HIP_", "OMP_")
"""What a check is given of the environment: what programs are found by, and which GPU is theirs; no secrets."""


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of the section `checks`."""

    name: str
    run: tuple[str, ...]
    timeout: float = TIMEOUT
    environment: Mapping[str, str] = field(default_factory=dict)
    exit_code: int = 0
    metrics: str | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundResult:
    """A bound, and what was measured."""

    bound: str
    value: float | None
    """None where that is missing, or no number."""
    holds: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of a check."""

    name: str
    run: tuple[str, ...]
    passed: bool
    reason: str | None
    """Why it failed."""
    exit_code: int | None
    """Negative for a signal; None where it was killed by the time limit, or never ran."""
    seconds: float
    metrics: Mapping[str, Any]
    bounds: tuple[BoundResult, ...]
    output: str
    """The last of what it printed, on stdout and stderr together."""
    output_bytes: int
    """Bytes that it printed in all."""


def run_check(check: Check, directory: Path, environ: Mapping[str, str]) -> CheckResult:
    """Run a check in the unpacked tree. It ends at its time limit, with every process that it started."""
    if check.metrics not in (None, "-"):
        # What the kit brought was measured by its author; what counts is what the check measures now.
        with suppress(OSError):
            (directory / str(check.metrics)).unlink()
    ended, output, count = _supervised(check, directory, {**environ, **check.environment})
    text = output.decode("utf-8", "replace")
    reason = _reason(check, ended)
    metrics: Mapping[str, Any] = {}
    bounds: tuple[BoundResult, ...] = ()
    if check.metrics is not None:
        try:
            metrics = _last_json(text) if check.metrics == "-" else _read_metrics(directory, check.metrics)
        except (IntegrityError, LimitError) as error:
            reason = reason or error.message
        bounds = tuple(_measured(bound, metrics) for bound in check.bounds)
        broken = [one for one in bounds if not one.holds]
        if broken and reason is None:
            reason = "; ".join(f"{one.bound} does not hold: {_told(one.value)}" for one in broken)
    return CheckResult(
        name=check.name,
        run=check.run,
        passed=reason is None,
        reason=reason,
        exit_code=ended.get("status"),
        seconds=round(float(ended.get("seconds", 0)), 3),
        metrics=metrics,
        bounds=bounds,
        output=text,
        output_bytes=count,
    )


def environment_of(environ: Mapping[str, str], names: Iterable[str] = ()) -> dict[str, str]:
    """What a check is given of an environment, with what is asked for by name besides."""
    wanted = {*INHERITED, *names}
    return {name: value for name, value in environ.items() if name in wanted or name.startswith(INHERITED_PREFIXES)}


def predicate_of(results: Iterable[CheckResult], checks: Iterable[Check], *, at: str, by: str) -> dict[str, Any]:
    """An in-toto test result (version 0.1); what it has no names for stands under `mlkit`."""
    listed = list(results)
    configuration = render_json([[check.name, list(check.run), list(map(str, check.bounds))] for check in checks])
    failed = [one.name for one in listed if not one.passed]
    return {
        "result": "FAILED" if failed or not listed else "PASSED",
        "configuration": [{"name": "checks", "digest": {"sha256": Digest.of(configuration).hex}}],
        "passedTests": [one.name for one in listed if one.passed],
        "warnedTests": [],
        "failedTests": failed,
        "mlkit": {"at": at, "by": by, "checks": [_stated(one) for one in listed]},
    }


def _stated(result: CheckResult) -> dict[str, Any]:
    value = {
        "name": result.name,
        "run": list(result.run),
        "passed": result.passed,
        "reason": result.reason,
        "exitCode": result.exit_code,
        "seconds": result.seconds,
        "metrics": dict(result.metrics),
        "bounds": [{"bound": one.bound, "value": one.value, "holds": one.holds} for one in result.bounds],
        "output": result.output[-_STATED_OUTPUT:],
    }
    return {name: item for name, item in value.items() if item is not None and item not in ({}, [], "")}


def _supervised(check: Check, directory: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], bytes, int]:
    """What the supervisor says, the end of the output, and how many bytes that was in all."""
    read, write = os.pipe()
    kept = _Tail(OUTPUT_LIMIT)
    try:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(check.timeout), str(write), *check.run],
                cwd=directory,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
                start_new_session=True,
            )
        finally:
            os.close(write)
        assert process.stdout is not None
        reader = threading.Thread(target=kept.take, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            process.wait(check.timeout + _GRACE)
            reader.join(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if not reader.is_alive():
                process.stdout.close()
        told = os.read(read, 65_536)
    finally:
        os.close(read)
    unknown = {
        "status": None,
        "timed_out": False,
        "seconds": check.timeout,
        "problem": "what watched over it was killed",
    }
    ended = json.loads(told) if told else unknown
    return ended, bytes(kept.content), kept.count


class _Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self.count = 0
        self._limit = limit

    def take(self, stream: IO[bytes]) -> None:
        """Read to the end."""
        with suppress(OSError, ValueError):
            while chunk := stream.read1(65_536) if hasattr(stream, "read1") else stream.read(65_536):
                self.count += len(chunk)
                self.content += chunk
                if len(self.content) > 2 * self._limit:
                    del self.content[: -self._limit]
        del self.content[: -self._limit]


def _reason(check: Check, ended: Mapping[str, Any]) -> str | None:
    if ended.get("problem"):
        return f"{ascii(check.run[0])[1:-1][:200]}: {ended['problem']}"
    if ended.get("timed_out"):
        return f"it took more than {check.timeout:g} s, and was killed"
    status = int(ended["status"])
    if status == check.exit_code:
        return None
    if status < 0:
        return f"it was ended by signal {-status}"
    return f"it exited with {status} (expected {check.exit_code})"


def _measured(bound: Bound, metrics: Mapping[str, Any]) -> BoundResult:
    value = bound.value(metrics)
    return BoundResult(str(bound), value, value is not None and bound.holds(value))


def _told(value: float | None) -> str:
    return "there is no such number" if value is None else f"it is {value:g}"


def _last_json(text: str) -> dict[str, Any]:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("{")]
    if not lines:
        raise IntegrityError("it printed no metrics: no line that is a JSON object")
    return parse_object(lines[-1].encode(), what="the metrics that it printed", limit=_METRICS_LIMIT)


def _read_metrics(directory: Path, path: str) -> dict[str, Any]:
    """The metrics in a file of the tree, which no link leads to: the check may have written one to a secret."""
    file = directory / path
    try:
        if file.resolve() != directory.resolve() / os.path.normpath(path):
            raise IntegrityError(f"{path}: the metrics are behind a link")
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise IntegrityError(f"{path}: the metrics are no file")
            raw = os.read(handle, _METRICS_LIMIT + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise IntegrityError(f"{path}: it wrote no metrics: {error.strerror}") from error
    return parse_object(raw, what=path, limit=_METRICS_LIMIT)
