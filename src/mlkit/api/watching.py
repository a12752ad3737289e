"""Promoting with an eye on the service: a probe that fails too often brings the channel back by itself."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlkit.api import releases
from mlkit.api.releases import Move
from mlkit.api.session import Session
from mlkit.errors import ConflictError, MlkitError, NotFoundError, UsageError
from mlkit.release.checks import Check, run_check
from mlkit.release.watch import Probe, Watch, watch
from mlkit.spec.reference import Reference

_SAID = 200  # characters of what a probe printed last


@dataclass(frozen=True, slots=True)
class Guarded:
    """A promotion that was watched."""

    move: Move
    probes: int
    reason: str | None
    """Why it was taken back; None where it was not."""
    rollback: Move | None


def parse_probe(session: Session, text: str, *, timeout: float, environ: Mapping[str, str], move: Move) -> Probe:
    """A probe from what a person typed: a URL that must answer 2xx, or a command that must exit with 0.

    Raises: UsageError.
    """
    if text.startswith(("http://", "https://")):
        return _url_probe(session, text, timeout)
    argv = split_probe(text)
    given = {
        **environ,
        "MLKIT_REPOSITORY": move.repository,
        "MLKIT_CHANNEL": move.channel,
        "MLKIT_DIGEST": str(move.digest),
    }
    check = Check("probe", tuple(argv), timeout=timeout)

    def probe() -> str | None:
        found = run_check(check, Path.cwd(), given)
        said = found.output.strip().splitlines()[-1:] or [""]
        told = f" ({ascii(said[0])[1:-1][:_SAID]})" if said[0] else ""
        return None if found.passed else f"{found.reason}{told}"

    return probe


def split_probe(text: str) -> list[str]:
    """The words of a command, as a shell would split them. Raises: UsageError."""
    if text.startswith(("http://", "https://")):
        from mlkit.registry.visit import check_url

        check_url(text)
        return [text]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{ascii(text)[:120]} is not a command: {error}") from error
    if not words:
        raise UsageError("--watch needs a command or a URL")
    return words


def guard(
    session: Session,
    reference: Reference,
    move: Move,
    probe: Probe,
    plan: Watch,
    *,
    key: Path | None = None,
    accept_untrusted: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    listen: Callable[[int, str | None], None] = lambda _number, _reason: None,
) -> Guarded:
    """Watch what was just promoted, and roll the channel back where the probe fails too often.

    Raises: ConflictError where somebody moved the channel meanwhile, which is then left alone; NotFoundError where
    there is nothing to go back to.
    """
    watched = watch(plan, probe, clock=clock, sleep=sleep, listen=listen)
    if watched.reason is None:
        return Guarded(move, watched.probes, None, None)
    try:
        back = releases.rollback(
            session,
            reference,
            move.channel,
            reason=watched.reason,
            expect=move.digest,
            key=key,
            accept_untrusted=accept_untrusted,
        )
    except (ConflictError, NotFoundError) as error:
        raise _told(error, watched.reason) from error
    return Guarded(move, watched.probes, watched.reason, back)


def _told(error: MlkitError, reason: str) -> MlkitError:
    return type(error)(f"the probe failed: {reason}; and nothing was rolled back: {error.message}", hint=error.hint)


def _url_probe(session: Session, url: str, timeout: float) -> Probe:
    from mlkit.registry.visit import visit

    def probe() -> str | None:
        try:
            answer = visit(url, session.outside(), timeout=timeout)
        except MlkitError as error:
            return error.message
        return None if answer.is_good else f"{url} answered {answer.status}"

    return probe
