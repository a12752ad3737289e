"""`mlkit check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import checking
from mlkit.api.checking import Checked
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import KeyOption, PolicyOption, ReferenceArgument, RemoteOption
from mlkit.cli.releasing import parse_duration
from mlkit.release.checks import CheckResult

_SHOWN = 20  # lines of the output of a check that failed


@command(example="mlkit check digits:1.2", network=True)
def check(
    call: Call,
    reference: ReferenceArgument,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this check; nothing is attached then. Repeatable."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="Give this variable to the checks, which get few. Repeatable."),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="For checks that have none: 45s, 10m. 10m without it."),
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="Where to unpack, if not the system's temporary.")
    ] = None,
    signing_key: KeyOption = None,
    policy: PolicyOption = None,
    remote: RemoteOption = False,
) -> None:
    """Run the checks of a kit's Kitfile; exit 1 where one fails.

    The kit is unpacked into a scratch directory, and its programs are run there: check only kits of people you trust.
    With a key the result is signed and attached to the kit, where `promote --require checks` finds it.
    """
    with call.session(policy=policy) as session:
        checked = checking.check(
            session,
            reference,
            only=only or (),
            environ=os.environ,
            pass_on=env or (),
            timeout=parse_duration(timeout) if timeout else None,
            scratch=scratch,
            remote=remote,
            key=signing_key,
            listen=lambda result: call.say_all(_talk(result)),
        )
    call.show(checked, _table(checked))
    if checked.attestation is not None:
        call.say(f"attached {checked.attestation}")
    elif not only:
        call.say("nothing was attached: no key was given")
    raise typer.Exit(0 if checked.passed else 1)


def _table(checked: Checked) -> str:
    rows = [
        (
            "passed" if one.passed else "FAILED",
            render.cell(one.name, 30),
            f"{one.seconds:.1f} s",
            render.cell(", ".join(f"{bound.bound}: {_value(bound.value)}" for bound in one.bounds), 40),
        )
        for one in checked.checks
    ]
    return render.table(("RESULT", "CHECK", "TIME", "METRICS"), rows)


def _talk(result: CheckResult) -> list[str]:
    if result.passed:
        return []
    lines = [f"{render.cell(result.name, 60)}: {render.escape(result.reason or '')}"]
    return lines + [f"  | {render.escape(line)}" for line in result.output.splitlines()[-_SHOWN:]]


def _value(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"
