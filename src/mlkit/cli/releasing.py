"""What the commands about channels share: their arguments, and how a move is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.errors import UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from mlkit.api.releases import Move
    from mlkit.release.rollback import PassedOver
    from mlkit.spec.release import EvidenceKind

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

RepositoryArgument = Annotated[
    Reference,
    typer.Argument(
        parser=Reference.parse,
        metavar="REPO",
        help="[host[:port]/]repository; without a host in the local store",
        show_default=False,
        autocompletion=complete_reference,
    ),
]
ChannelArgument = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="Any name: production, staging, champion.", show_default=False)
]
MessageOption = Annotated[
    str | None, typer.Option("--message", "-m", metavar="TEXT", help="Why, for whoever reads the history.")
]
AcceptUntrustedOption = Annotated[
    bool,
    typer.Option(
        "--accept-untrusted",
        help="Go on from a history that is broken, or whose last record no trusted key has signed.",
    ),
]


def parse_duration(text: str) -> float:
    """Seconds: `45`, `45s`, `10m`, `2h`, `90d`. Raises: UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!a} is not a length of time", hint="it reads 45s, 10m, 2h or 90d")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def parse_requirements(texts: Iterable[str] | None) -> tuple[EvidenceKind, ...]:
    """`checks,signature`, perhaps several times. Raises: UsageError."""
    from mlkit.spec.release import EVIDENCE_KINDS

    words = [word.strip() for text in texts or () for word in text.split(",") if word.strip()]
    for word in words:
        if word not in EVIDENCE_KINDS:
            raise UsageError(f"--require {word!a}: none of {', '.join(EVIDENCE_KINDS)}")
    return tuple(cast("EvidenceKind", word) for word in dict.fromkeys(words))


def told(digest: Digest | None, version: str | None) -> str:
    """A kit as a line shows it: its version, if known, and its whole digest."""
    if digest is None:
        return "nothing"
    return f"{render.cell(version, 40)} {digest}" if version else str(digest)


def move_lines(move: Move) -> Iterator[str]:
    """One line for the move, one for its record, and one for each version that was passed over."""
    where = f"{move.repository}:{move.channel}"
    verb = "roll back" if move.action == "rollback" else "promote"
    past = "rolled back" if move.action == "rollback" else "promoted"
    for passed in move.passed_over:
        yield passed_line(passed)
    if not move.is_new:
        yield f"{where} is at {told(move.digest, move.version)} already (record {move.sequence})"
        return
    yield f"{f'would {verb}' if move.dry_run else past} {where}"
    yield f"  from {told(move.before, move.before_version)}"
    yield f"  to   {told(move.digest, move.version)}"
    if not move.dry_run:
        signed = "signed" if move.is_signed else "not signed: no key was given"
        yield f"  record {move.sequence}, {signed}"


def passed_line(passed: PassedOver) -> str:
    """Why a version was not gone back to."""
    version = f"{render.cell(passed.version, 40)} " if passed.version else ""
    return f"passed over {version}{render.short(passed.digest)}: {render.escape(passed.reason)}"
