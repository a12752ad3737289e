"""`mlkit lineage deployed`."""

from __future__ import annotations

import typer

from mlkit.api import lineage
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import deployed_document, deployed_text
from mlkit.cli.options import RefreshOption, SubjectArgument


@command(example="mlkit lineage deployed data/train.csv", network=True)
def deployed(call: Call, what: SubjectArgument, refresh: RefreshOption = False) -> None:
    """Say which channels pointed at a kit, or at what came of something.

    From the histories that `mlkit promote` writes: since when, until when, moved by whom. Exit 1 when no history that
    was scanned names any of these kits.
    """
    with call.session() as session:
        found = lineage.deployed(session, what, refresh=refresh)
    call.show(deployed_document(found), deployed_text(found))
    raise typer.Exit(0 if found.deployments else 1)
