"""`mlkit lineage inputs`."""

from __future__ import annotations

import typer

from mlkit.api import lineage
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import answer_document, answer_text
from mlkit.cli.options import LimitOption, RefreshOption, SubjectArgument
from mlkit.lineage.ask import HIT_LIMIT


@command(example="mlkit lineage inputs digits:1.2", network=True)
def inputs(call: Call, what: SubjectArgument, limit: LimitOption = HIT_LIMIT, refresh: RefreshOption = False) -> None:
    """List everything that a kit came from.

    Datasets, base models, code, runs, and what these came from in turn, as far as anybody said. Exit 1 when nobody
    said anything.
    """
    with call.session() as session:
        found = lineage.inputs(session, what, refresh=refresh, limit=limit)
    call.show(answer_document(found), answer_text(found))
    raise typer.Exit(0 if found.hits else 1)
