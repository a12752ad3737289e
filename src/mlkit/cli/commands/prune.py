"""`mlkit prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import store
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption


@command(example="mlkit prune --dry-run")
def prune(
    call: Call,
    dry_run: DryRunOption = False,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0,
            help="Keep what is younger; a pull may be about to name it. Unfinished downloads: seven times as long.",
        ),
    ] = store.GRACE_SECONDS,
) -> None:
    """Delete local content that no name reaches.

    Downloads that were interrupted and not gone on with for long count as such.
    """
    with call.session() as session:
        pruned = store.prune(session, dry_run=dry_run, grace_seconds=grace)
    call.show(
        {
            "removed": pruned.removed,
            "partials": pruned.partials,
            "freed_bytes": pruned.freed_bytes,
            "young_bytes": pruned.young_bytes,
            "dry_run": dry_run,
        },
        render.size(pruned.freed_bytes),
    )
    verb = "would free" if dry_run else "freed"
    partials = f" and {render.counted(len(pruned.partials), 'unfinished download')}" if pruned.partials else ""
    call.say(f"{verb} {render.size(pruned.freed_bytes)} in {render.counted(len(pruned.removed), 'blob')}{partials}")
    if pruned.young_bytes:
        call.say(
            f"kept {render.size(pruned.young_bytes)} that no name reaches and that are younger than {grace:g} s: "
            "--grace 0 deletes them too, if nothing is being packed or pulled"
        )
