"""`mlkit index add`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import indexes
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument
from mlkit.cli.summary import indexed_summary
from mlkit.spec.kit_index import LabelEdits
from mlkit.spec.reference import Reference


@command(example="mlkit index add digits:all digits:1.2 -l quantization=q4_0 -l vram=6GB", network=True)
def add(
    call: Call,
    reference: ReferenceArgument,
    kit: Annotated[
        Reference,
        typer.Argument(
            parser=Reference.parse,
            metavar="KIT_REF",
            help="The kit; one that is only in its registry is not fetched.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="KEY=VALUE", help="KEY=VALUE, KEY:=JSON, or KEY- without. Repeatable."),
    ] = None,
) -> None:
    """Enter a kit in an index, or change its labels.

    Prints the digest of the index, which is another one after every change, whatever the order of changes. Labels that
    --select auto looks at: vram, such as 24GB, and gpuArchs, such as sm_80,sm_90.
    """
    edits = LabelEdits.parse(labels or ())
    with call.session() as session:
        indexed = indexes.add(session, reference, kit, edits)
    call.show(indexed, str(indexed.digest))
    call.say(indexed_summary(indexed))
    call.warn_all(f"no label tells it from {twin}, which the index lists too" for twin in indexed.twins)
