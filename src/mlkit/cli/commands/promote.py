"""`mlkit promote`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import releases
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption, KeyOption, PolicyOption, ReferenceArgument, parse_digest
from mlkit.cli.releasing import (
    AcceptUntrustedOption,
    ChannelArgument,
    MessageOption,
    move_lines,
    parse_requirements,
)
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
    dry_run: DryRunOption = False,
) -> None:
    """Let a channel point at a kit and print its digest.

    A channel is a tag, so every OCI client can pull it. Who moved it, when and why is kept beside it, in a history that
    cannot be changed unseen. Of two who promote at once, one wins, and the other is told who did (exit 9).
    """
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
    call.show(move, str(move.digest))
    call.say_all(move_lines(move))
