"""`mlkit lineage trained-on`."""

from __future__ import annotations

import typer

from mlkit.api import lineage
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import answer_document, answer_text
from mlkit.cli.options import LimitOption, RefreshOption, SubjectArgument
from mlkit.lineage.ask import HIT_LIMIT


@command(example="mlkit lineage trained-on data/train.csv", network=True)
def trained_on(
    call: Call, what: SubjectArgument, limit: LimitOption = HIT_LIMIT, refresh: RefreshOption = False
) -> None:
    """List the kits that came of a dataset, model, file or address.

    Directly, under another name, through derived datasets, base models and adapters. Each hit is proved (signed by a
    trusted key), stated (in the kit, unsigned) or inferred (the same bytes). Exit 1 when nothing was found in what was
    scanned, which is not the same as "none".
    """
    with call.session() as session:
        found = lineage.trained_on(session, what, refresh=refresh, limit=limit)
    call.show(answer_document(found), answer_text(found))
    raise typer.Exit(0 if found.hits else 1)
