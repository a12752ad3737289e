"""`mlkit pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import transfer
from mlkit.api.pins import check_tag
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import (
    DryRunOption,
    FilterOption,
    IgnoreExistingOption,
    IncludeRemoteOption,
    LabelOption,
    MetricsOption,
    NoReferrersOption,
    OverwriteOption,
    PolicyOption,
    ReferenceArgument,
    SelectOption,
    StrictOption,
    parse_choice,
    parse_existing,
)
from mlkit.cli.summary import moved_summary


@command(example="mlkit pull localhost:5000/team/digits:1.2 --filter datasets --plain-http", network=True)
def pull(
    call: Call,
    reference: ReferenceArgument,
    labels: LabelOption = None,
    select: SelectOption = None,
    filters: FilterOption = None,
    include_remote: IncludeRemoteOption = False,
    unpack_to: Annotated[
        Path | None, typer.Option("--unpack", metavar="DIR", help="Write the files here, and keep no second copy.")
    ] = None,
    overwrite: OverwriteOption = False,
    ignore_existing: IgnoreExistingOption = False,
    policy: PolicyOption = None,
    strict: StrictOption = False,
    metrics_file: MetricsOption = None,
    no_referrers: NoReferrersOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Fetch a kit from a registry into the local store.

    With --filter only the selected layers are fetched, and the kit is kept as a partial one. An index of kits comes
    with all that it lists, or with -l with that one kit alone. Signatures and other referrers come along.
    """
    choice = parse_choice(labels, select)
    existing = parse_existing(overwrite=overwrite, ignore_existing=ignore_existing)
    with call.session(policy=policy, metrics_file=metrics_file) as session:
        if strict:
            check_tag(session, reference)
        moved = transfer.pull(
            session,
            reference,
            choice=choice,
            filters=filters or (),
            include_remote=include_remote,
            unpack_to=unpack_to,
            existing=existing,
            referrers=not no_referrers,
            dry_run=dry_run,
        )
    call.show(moved, str(moved.digest))
    call.say(moved_summary("pull", moved))
