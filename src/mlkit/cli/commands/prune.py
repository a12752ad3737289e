"""`mlkit prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import store
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption
from mlkit.cli.pruning import parse_rules, prune_repository
from mlkit.errors import UsageError
from mlkit.spec.reference import Reference


@command(example="mlkit prune --dry-run", network=True)
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
    remote: Annotated[
        Reference | None,
        typer.Option(
            "--remote",
            parser=Reference.parse,
            metavar="REPO",
            help="Not the local store: old kits of this repository of a registry.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", min=0, help="With --remote: so many of the newest stay.")
    ] = None,
    keep_within: Annotated[
        str | None, typer.Option("--keep-within", metavar="TIME", help="With --remote: what is younger stays: 90d.")
    ] = None,
    keep_channels: Annotated[
        bool, typer.Option("--keep-channels", help="With --remote: all that a channel ever pointed at stays.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --remote: do it. Without this the plan is shown, and no more.")
    ] = False,
) -> None:
    """Delete local content that no name reaches.

    Downloads that were interrupted and not gone on with for long count as such. With --remote, kits of a registry that
    no rule keeps; where channels are, and what their rollbacks may want, stays whatever the rules.
    """
    if remote is not None:
        prune_repository(
            call, remote, parse_rules(keep, keep_within, is_whole=keep_channels), dry_run=dry_run or not yes
        )
        return
    if keep is not None or keep_within is not None or keep_channels or yes:
        raise UsageError("--keep, --keep-within, --keep-channels and --yes are for --remote REPO")
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
