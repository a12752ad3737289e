"""What serving a kit costs: latency under load, time to start, memory; and the resources that follow from it.

The form of an attestation too (PREDICATE_TYPE): measured once, and used wherever the kit is deployed. Nothing here does
I/O.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError

PREDICATE_TYPE = "https://mlkit.dev/attestation/profile/v1"

_MIB = 1 << 20
_STEP = 64  # MiB; finer requests say more than a measurement does
_HEADROOM = 1.2  # what is asked for above the peak
_CEILING = 1.5  # where a container is ended, above the peak
_BEND = 2.0  # a level counts while its p95 is at most this many times that of the first


@dataclass(frozen=True, slots=True)
class Level:
    """Requests sent by a number of callers, each with one on its way at a time."""

    concurrency: int
    requests: int
    """Those that were answered."""
    failures: int
    """Errors of the server, and answers that never came."""
    seconds: float
    p50: float
    """Seconds, as all that follow."""
    p95: float
    p99: float
    mean: float
    slowest: float
    cores: float
    """CPUs that the server kept busy."""

    @property
    def per_second(self) -> float:
        """Answers."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    system: str
    cpus: int
    memory_bytes: int | None
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Resources for a container, in the words of Kubernetes."""

    cpu: str
    memory: str
    memory_limit: str
    gpus: int
    concurrency: int
    """Requests at once beyond which they only wait longer: where to scale out."""
    startup_seconds: int
    """How long a startup probe should wait."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One measurement."""

    reference: str
    version: str | None
    runtime: str
    model: str | None
    """Path within the kit."""
    request: str
    """Method and path that was asked."""
    machine: Machine
    mlkit: str
    """Version of mlkit."""
    measured_at: str
    """RFC 3339, UTC."""
    unpack_seconds: float
    unpack_bytes: int
    ready_seconds: float
    """From the start of the process until it could be asked."""
    first_seconds: float
    """The first request."""
    levels: tuple[Level, ...]
    peak_memory_bytes: int | None
    """Of all processes of the server; None where the system does not tell."""
    peak_gpu_bytes: int | None
    """Of all GPUs, above what was used before; None without one."""
    suggestion: Suggestion


def level_of(
    concurrency: int, latencies: Sequence[float], *, failures: int, seconds: float, cpu_seconds: float
) -> Level:
    """A level from its single latencies, in seconds."""
    ordered = sorted(latencies)
    return Level(
        concurrency=concurrency,
        requests=len(ordered),
        failures=failures,
        seconds=_rounded(seconds),
        p50=_rounded(percentile(ordered, 50)),
        p95=_rounded(percentile(ordered, 95)),
        p99=_rounded(percentile(ordered, 99)),
        mean=_rounded(sum(ordered) / len(ordered) if ordered else 0.0),
        slowest=_rounded(ordered[-1] if ordered else 0.0),
        cores=round(cpu_seconds / seconds if seconds > 0 else 0.0, 2),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest rank (ISO 16269-4): an observed value, no interpolation; 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def suggest(
    levels: Sequence[Level],
    *,
    peak_memory_bytes: int | None,
    peak_gpu_bytes: int | None,
    needs_gpu: bool,
    ready_seconds: float,
) -> Suggestion:
    """Resources for the highest load that was answered without failures and without much more waiting."""
    good = [level for level in levels if level.failures == 0 and level.requests > 0]
    bound = _BEND * good[0].p95 if good else 0.0
    chosen = next((level for level in reversed(good) if level.p95 <= bound), None)
    peak = peak_memory_bytes or 0
    return Suggestion(
        cpu=f"{max(1, math.ceil((chosen.cores if chosen else 1.0) * _HEADROOM * 10)) * 100}m",
        memory=_mebibytes(peak * _HEADROOM),
        memory_limit=_mebibytes(peak * _CEILING),
        gpus=1 if needs_gpu or peak_gpu_bytes else 0,
        concurrency=chosen.concurrency if chosen else 1,
        startup_seconds=math.ceil(ready_seconds * 3) + 10,
    )


def predicate_of(profile: Profile) -> dict[str, Any]:
    """The JSON form, as it is attested and printed."""
    return dataclasses.asdict(profile)


def parse_profile(predicate: Mapping[str, Any], *, what: str) -> Profile:
    """A profile from somebody's attestation; names that are not known are passed over. Raises: IntegrityError."""
    from pydantic import TypeAdapter, ValidationError

    try:
        profile = TypeAdapter(Profile).validate_python(predicate)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise IntegrityError(f"{what}: is no profile: {ascii(place)[1:-1][:100]}: {first['msg']}") from error
    numbers = [profile.ready_seconds, profile.first_seconds, *(level.p95 for level in profile.levels)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise IntegrityError(f"{what}: is no profile: a time that is none")
    return profile


def _mebibytes(count: float) -> str:
    return f"{max(1, math.ceil(count / _MIB / _STEP)) * _STEP}Mi"


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
