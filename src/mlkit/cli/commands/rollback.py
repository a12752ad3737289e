"""`mlkit rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import releases
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption, KeyOption, PolicyOption
from mlkit.cli.releasing import (
    AcceptUntrustedOption,
    ChannelArgument,
    MessageOption,
    RepositoryArgument,
    move_lines,
)
from mlkit.spec.reference import Reference


@command(example="mlkit rollback digits staging --message 'wrong answers since noon'", network=True)
def rollback(
    call: Call,
    repository: RepositoryArgument,
    channel: ChannelArgument,
    to: Annotated[
        Reference | None,
        typer.Option(
            "--to",
            parser=Reference.parse,
            metavar="REF",
            help="To this version, and not to the last good one.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ] = None,
    mark_bad: Annotated[
        bool, typer.Option("--mark-bad", help="Mark what is left bad, so that nobody goes back to it.")
    ] = False,
    policy: PolicyOption = None,
    message: MessageOption = None,
    signing_key: KeyOption = None,
    accept_untrusted: AcceptUntrustedOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Let a channel point at its last good version again.

    That is the newest one it pointed at before whose content is there, whose signature holds where keys are trusted,
    whose checks did not fail, and which nobody marked bad or rolled back from. It never asks.
    """
    with call.session(policy=policy) as session:
        move = releases.rollback(
            session,
            repository,
            channel,
            to=to,
            mark_bad=mark_bad,
            message=message,
            key=signing_key,
            accept_untrusted=accept_untrusted,
            dry_run=dry_run,
        )
    call.show(move, "\n".join(move_lines(move)))
