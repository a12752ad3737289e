"""`mlkit lineage diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import lineage
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import comparison_text
from mlkit.cli.options import RefreshOption

_Before = Annotated[
    str,
    typer.Argument(metavar="REF", help="The earlier kit.", show_default=False, autocompletion=complete_reference),
]
_After = Annotated[
    str,
    typer.Argument(metavar="REF", help="The later kit.", show_default=False, autocompletion=complete_reference),
]


@command(example="mlkit lineage diff digits:1.1 digits:1.2", network=True)
def diff(call: Call, before: _Before, after: _After, refresh: RefreshOption = False) -> None:
    """Compare what two kits came from; exit 1 when it differs."""
    with call.session() as session:
        found = lineage.diff(session, before, after, refresh=refresh)
    call.show({**render.jsonable(found), "is_same": found.is_same}, comparison_text(found))
    raise typer.Exit(0 if found.is_same else 1)
