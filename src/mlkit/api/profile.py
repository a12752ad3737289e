"""Profiling a kit: it is served and asked, and what that took is told, drawn and attested."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlkit import __version__
from mlkit.api.evidence import attach_statement
from mlkit.api.gpus import nvidia_gpus, used_gpu_bytes
from mlkit.api.serve import ServeOptions, Serving, serving
from mlkit.api.session import Session
from mlkit.api.variants import ANY
from mlkit.api.variants import Choice as VariantChoice
from mlkit.errors import NotFoundError, UsageError
from mlkit.serving.footprint import Footprint
from mlkit.serving.load import ask_once, run_load
from mlkit.serving.profile import PREDICATE_TYPE, Machine, Profile, level_of, predicate_of, suggest
from mlkit.serving.requests import Request
from mlkit.serving.runtimes import RUNTIMES
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.trust.signer import Signer

LEVELS = (1, 4, 16)
MOST_CALLERS = 256
"""Each is a thread; beyond that, one process of Python measures itself."""

_FIRST_TIMEOUT = 300.0  # seconds; some servers compile for minutes when they are first asked
_REQUEST_LIMIT = 16 << 20  # bytes of a file with a request


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How a server is asked."""

    concurrency: Sequence[int] = LEVELS
    requests: int = 200
    """At each level."""
    seconds: float = 60.0
    """At each level nobody begins a request after so long."""
    timeout: float = 60.0
    """Seconds for one answer."""
    request_file: Path | None = None
    """JSON to send, in place of zeros in the shapes that the server tells."""
    request_path: str | None = None


@dataclass(frozen=True, slots=True)
class Profiled:
    """What was measured of a kit."""

    digest: Digest
    profile: Profile
    attached: Digest | None
    """Of the attestation's manifest; None where there was no key to sign it with."""


def profile(
    session: Session,
    reference: Reference,
    options: ServeOptions,
    profiling: ProfileOptions,
    *,
    environ: Mapping[str, str],
    choice: VariantChoice = ANY,
    signer: Signer | None = None,
    on_line: Callable[[str], None] | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Profiled:
    """Serve a kit, ask it at every level, stop it; with a `signer` the result is attached to the kit.

    `on_step` is told what comes next. Raises: what `serving` raises; ProgramError where the server does not answer.
    """
    check_levels(profiling.concurrency)
    body = _body(profiling.request_file)
    before = used_gpu_bytes()
    with (
        serving(session, reference, options, environ=environ, choice=choice, on_line=on_line) as one,
        Footprint(one.server.pid, gpu_bytes=used_gpu_bytes if before is not None else lambda: None) as footprint,
    ):
        found = one.served
        request = _request(one, body, profiling.request_path)
        on_step(f"ready after {found.ready_seconds:.1f} s; asking {request.method} {request.path}")
        first = ask_once(one.host, one.port, request, timeout=_FIRST_TIMEOUT)
        levels = []
        for concurrency in profiling.concurrency:
            on_step(f"{profiling.requests} requests, {concurrency} at once")
            began = footprint.cpu_seconds()
            answers = run_load(
                one.host,
                one.port,
                request,
                concurrency=concurrency,
                requests=profiling.requests,
                seconds=profiling.seconds,
                timeout=profiling.timeout,
            )
            used = max(0.0, footprint.cpu_seconds() - began)
            levels.append(
                level_of(
                    concurrency,
                    answers.latencies,
                    failures=len(answers.failures),
                    seconds=answers.seconds,
                    cpu_seconds=used,
                )
            )
            if one.server.has_exited():
                raise one.server.failure("ended")
    peak_gpu = max(0, (footprint.peak_gpu or 0) - before) if before is not None else None
    needs_gpu = RUNTIMES[found.runtime].gpu == "required"
    measured = Profile(
        reference=found.reference,
        version=found.version,
        runtime=found.runtime,
        model=found.model,
        request=f"{request.method} {request.path}",
        machine=_machine(),
        mlkit=__version__,
        measured_at=now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        unpack_seconds=found.unpack_seconds,
        unpack_bytes=found.unpack_bytes,
        ready_seconds=found.ready_seconds,
        first_seconds=round(first, 6),
        levels=tuple(levels),
        peak_memory_bytes=footprint.peak_memory,
        peak_gpu_bytes=peak_gpu,
        suggestion=suggest(
            levels,
            peak_memory_bytes=footprint.peak_memory,
            peak_gpu_bytes=peak_gpu,
            needs_gpu=needs_gpu,
            ready_seconds=found.ready_seconds,
        ),
    )
    attached = None
    if signer is not None:
        statement = predicate_of(measured)
        attached = attach_statement(session, one.located, PREDICATE_TYPE, statement, signer=signer, now=now()).digest
    return Profiled(found.digest, measured, attached)


def check_levels(levels: Sequence[int]) -> None:
    """Raises: UsageError."""
    if not levels or not all(1 <= level <= MOST_CALLERS for level in levels):
        raise UsageError(
            f"--concurrency {','.join(map(str, levels))}: numbers from 1 to {MOST_CALLERS} are expected",
            hint="for example --concurrency 1,4,16",
        )


def _request(one: Serving, body: bytes | None, path: str | None) -> Request:
    if body is None:
        return Request("GET", path) if path is not None else one.request
    return Request("POST", path or one.request.path, body)


def _body(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            raw = stream.read(_REQUEST_LIMIT + 1)
    except OSError as error:
        raise NotFoundError(f"{path}: no request can be read there: {error.strerror}") from error
    if len(raw) > _REQUEST_LIMIT:
        raise UsageError(f"{path}: more than {_REQUEST_LIMIT} bytes")
    return raw


def _machine() -> Machine:
    try:
        gpus = tuple(gpu.name for gpu in nvidia_gpus())
    except NotFoundError:
        gpus = ()
    names = os.sysconf_names
    has_memory = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if has_memory else None
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(f"{platform.system()} {platform.machine()}", cpus, memory, gpus)
