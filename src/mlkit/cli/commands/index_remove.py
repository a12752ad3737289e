"""`mlkit index remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import indexes
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument
from mlkit.cli.summary import indexed_summary
from mlkit.spec.reference import Reference


@command(example="mlkit index remove digits:all digits:1.1")
def remove(
    call: Call,
    reference: ReferenceArgument,
    kit: Annotated[
        Reference,
        typer.Argument(
            parser=Reference.parse,
            metavar="KIT_REF",
            help="The kit, by its name or its digest.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ],
) -> None:
    """Take a kit out of an index; the kit stays.

    Prints the digest of the index.
    """
    with call.session() as session:
        indexed = indexes.remove(session, reference, kit)
    call.show(indexed, str(indexed.digest))
    call.say(indexed_summary(indexed))
