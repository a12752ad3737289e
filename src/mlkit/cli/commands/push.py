"""`mlkit push`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import transfer
from mlkit.api.named_signer import named_signer
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption, IfMatchOption, NoReferrersOption, ReferenceArgument, SignOption
from mlkit.cli.summary import moved_summary
from mlkit.spec.reference import Reference


@command(example="mlkit push digits:1.2 localhost:5000/team/digits:1.2 --plain-http", network=True)
def push(
    call: Call,
    reference: ReferenceArgument,
    destination: Annotated[
        Reference | None,
        typer.Argument(
            parser=Reference.parse, metavar="[DEST]", help="Where to, if not where REF says.", show_default=False
        ),
    ] = None,
    no_referrers: NoReferrersOption = False,
    if_match: IfMatchOption = None,
    sign: SignOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Send a local kit to a registry and print its digest.

    What the registry has is not sent again; the manifest goes last; signatures and other referrers go along.
    """
    with call.session() as session:
        moved = transfer.push(
            session,
            reference,
            destination,
            referrers=not no_referrers,
            if_match=if_match,
            dry_run=dry_run,
            signer=named_signer(session, sign),
        )
    call.show(moved, str(moved.digest))
    call.say(moved_summary("push", moved))
