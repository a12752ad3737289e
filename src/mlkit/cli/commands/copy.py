"""`mlkit copy`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import copying
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import DryRunOption, IfMatchOption, NoReferrersOption
from mlkit.cli.summary import moved_summary
from mlkit.spec.reference import Reference


@command(example="mlkit copy localhost:5000/team/digits:1.2 localhost:5000/digits --plain-http", network=True)
def copy(
    call: Call,
    source: Annotated[
        Reference,
        typer.Argument(parser=Reference.parse, metavar="SRC", help="What to copy, kit or not.", show_default=False),
    ],
    destination: Annotated[
        Reference,
        typer.Argument(
            parser=Reference.parse, metavar="DEST", help="Where to; with no tag, under that of SRC.", show_default=False
        ),
    ],
    no_referrers: NoReferrersOption = False,
    if_match: IfMatchOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Copy from registry to registry and print the digest.

    Nothing lands on this disk; what DEST has is not sent again, and within one registry nothing is sent at all where
    it allows that. Signatures and other referrers go along.
    """
    with call.session() as session:
        moved = copying.copy(
            session, source, destination, referrers=not no_referrers, if_match=if_match, dry_run=dry_run
        )
    call.show(moved, str(moved.digest))
    call.say(moved_summary("copy", moved))
