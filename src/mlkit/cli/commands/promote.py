"""`mlkit promote`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mlkit.api import releases, watching
from mlkit.api.watching import Guarded
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption, KeyOption, PolicyOption, ReferenceArgument, parse_digest
from mlkit.cli.releasing import (
    AcceptUntrustedOption,
    ChannelArgument,
    MessageOption,
    move_lines,
    parse_duration,
    parse_requirements,
)
from mlkit.release.watch import Watch
from mlkit.spec.digest import Digest


@command(example="mlkit promote digits:1.2 production", network=True)
def promote(
    call: Call,
    reference: ReferenceArgument,
    channel: ChannelArgument,
    message: MessageOption = None,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="KINDS", help="Refuse a kit without these: checks, signature, scan, policy."),
    ] = None,
    policy: PolicyOption = None,
    expect: Annotated[
        Digest | None,
        typer.Option(
            "--expect",
            parser=parse_digest,
            metavar="DIGEST",
            help="Only where the channel is at this digest now; exit 9 otherwise.",
            show_default=False,
        ),
    ] = None,
    signing_key: KeyOption = None,
    accept_untrusted: AcceptUntrustedOption = False,
    probe: Annotated[
        str | None,
        typer.Option(
            "--watch", metavar="CMD|URL", help="Then probe the service; roll back by itself where that fails."
        ),
    ] = None,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How long to watch.")] = "10m",
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often to probe.")] = "10s",
    failures: Annotated[
        int, typer.Option("--failures", metavar="N", min=1, help="Probes that fail in a row before it rolls back.")
    ] = 3,
    probe_timeout: Annotated[
        str, typer.Option("--probe-timeout", metavar="TIME", help="How long one probe may take.")
    ] = "10s",
    dry_run: DryRunOption = False,
) -> None:
    """Let a channel point at a kit and print its digest.

    A channel is a tag, so every OCI client can pull it. Who moved it, when and why is kept beside it, in a history that
    cannot be changed unseen. Of two who promote at once, one wins, and the other is told who did (exit 9). With --watch
    the command goes on until the service has held; exit 1 where it has not, and the channel was rolled back.
    """
    plan = Watch(parse_duration(duration), parse_duration(every), failures, parse_duration(probe_timeout))
    if probe is not None:
        watching.split_probe(probe)
    with call.session(policy=policy) as session:
        move = releases.promote(
            session,
            reference,
            channel,
            message=message,
            expect=expect,
            require=parse_requirements(require),
            key=signing_key,
            accept_untrusted=accept_untrusted,
            dry_run=dry_run,
        )
        if probe is None or dry_run:
            call.show(move, str(move.digest))
            call.say_all(move_lines(move))
            return
        call.say_all(move_lines(move))
        guarded = watching.guard(
            session,
            reference,
            move,
            watching.parse_probe(session, probe, timeout=plan.timeout, environ=os.environ, move=move),
            plan,
            key=signing_key,
            accept_untrusted=accept_untrusted,
            listen=lambda number, reason: call.say_all(_probed(number, reason)),
        )
    _show(call, guarded)


def _show(call: Call, guarded: Guarded) -> None:
    back = guarded.rollback
    call.show(guarded, str(back.digest if back is not None else guarded.move.digest))
    if back is None:
        call.say(f"all {render.counted(guarded.probes, 'probe')} well")
        return
    call.say(f"ROLLED BACK: {render.escape(guarded.reason or '')}")
    call.say_all(move_lines(back))
    raise typer.Exit(1)


def _probed(number: int, reason: str | None) -> list[str]:
    return [] if reason is None else [f"probe {number} failed: {render.escape(reason)}"]
