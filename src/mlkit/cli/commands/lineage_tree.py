"""`mlkit lineage tree`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import lineage
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import tree_text
from mlkit.cli.options import RefreshOption, SubjectArgument

_Depth = Annotated[int, typer.Option("--depth", metavar="N", min=1, max=40, help="Levels in each direction.")]
_Width = Annotated[int, typer.Option("--width", metavar="N", min=1, help="Branches of one thing.")]


@command(example="mlkit lineage tree digits:1.2", network=True)
def tree(
    call: Call, what: SubjectArgument, depth: _Depth = 4, width: _Width = 20, refresh: RefreshOption = False
) -> None:
    """Draw what a kit came from and what came of it.

    Each thing stands once, where the best founded way leads to it. Exit 1 when nothing hangs on it either way.
    """
    with call.session() as session:
        found = lineage.tree(session, what, depth=depth, width=width, refresh=refresh)
    call.show(render.jsonable(found), tree_text(found))
    raise typer.Exit(0 if found.origins or found.results else 1)
