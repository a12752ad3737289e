"""`mlkit tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import store
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument, RemoteOption, parse_names


@command(example="mlkit tag digits:1.2 digits:stable,latest", network=True)
def tag(
    call: Call,
    source: ReferenceArgument,
    destinations: Annotated[
        list[str],
        typer.Argument(metavar="DEST...", help="New names; repository:tag1,tag2 gives two.", show_default=False),
    ],
    remote: RemoteOption = False,
) -> None:
    """Give a kit further names."""
    with call.session() as session:
        tagged = store.tag(session, source, parse_names(destinations), remote=remote)
    call.show(tagged, "\n".join(tagged.references))
