"""`mlkit sbom`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlkit.api import boms
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import write_text
from mlkit.cli.options import LabelOption, ReferenceArgument, RemoteOption, SelectOption, parse_choice
from mlkit.cli.render import document


@command(example="mlkit sbom digits:1.2 -o bom.json && cat bom.json", network=True)
def sbom(
    call: Call,
    reference: ReferenceArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it here, not to stdout.")
    ] = None,
    spec_version: Annotated[
        Literal["1.6", "1.7"], typer.Option("--spec-version", metavar="VERSION", help="Of CycloneDX: 1.6 or 1.7.")
    ] = "1.6",
    labels: LabelOption = None,
    select: SelectOption = None,
    remote: RemoteOption = False,
) -> None:
    """Write the bill of materials of a kit, in CycloneDX.

    Models, datasets, parameters and code with their versions, licences and digests, what the model was made from, and
    its model card. No layer is fetched, and the same kit gives the same document.
    """
    choice = parse_choice(labels, select)
    with call.session() as session:
        found = boms.bom(session, reference, choice=choice, spec_version=spec_version, remote=remote)
    if output is None:
        call.show(found, document(found))
    else:
        write_text(output, document(found) + "\n", replace=True)
        call.say(f"wrote {output}")
