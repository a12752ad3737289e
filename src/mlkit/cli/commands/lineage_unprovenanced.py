"""`mlkit lineage unprovenanced`."""

from __future__ import annotations

import typer

from mlkit.api import lineage
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import untold_text
from mlkit.cli.options import LimitOption, RefreshOption
from mlkit.lineage.ask import HIT_LIMIT


@command(example="mlkit lineage unprovenanced", network=True)
def unprovenanced(call: Call, limit: LimitOption = HIT_LIMIT, refresh: RefreshOption = False) -> None:
    """List the kits with a model whose origin nobody can tell.

    Those that state no inputs and hold no dataset; where keys are trusted, also those whose statements none of them
    has signed. Exit 1 when there is none in what was scanned.
    """
    with call.session() as session:
        found = lineage.unprovenanced(session, refresh=refresh, limit=limit)
    call.show(render.jsonable(found), untold_text(found))
    raise typer.Exit(0 if found.kits else 1)
