"""`mlkit index create`."""

from __future__ import annotations

from mlkit.api import indexes
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument
from mlkit.cli.summary import indexed_summary


@command(example="mlkit index create digits:variants")
def create(call: Call, reference: ReferenceArgument) -> None:
    """Make an index without kits and print its digest.

    An index gathers variants of one kit, such as quantisations, under one name; labels tell them apart.
    """
    with call.session() as session:
        indexed = indexes.create(session, reference)
    call.show(indexed, str(indexed.digest))
    call.say(indexed_summary(indexed))
