"""`mlkit lineage record`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlkit.api.recording import record_run
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import parse_numbers, parse_pairs
from mlkit.cli.render import counted


@command(example="mlkit lineage record train --uses Kitfile --produces README.md", network=True)
def record(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the run is called.", show_default=False)],
    uses: Annotated[
        list[str] | None,
        typer.Option("--uses", metavar="PATH|REF|URI", help="What it read: a file, a kit, an address. Repeatable."),
    ] = None,
    produces: Annotated[
        list[str] | None, typer.Option("--produces", metavar="PATH", help="A file or directory it wrote. Repeatable.")
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", metavar="KEY=VALUE", help="Of the run. Repeatable.")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", metavar="KEY=NUMBER", help="A result of the run. Repeatable.")
    ] = None,
    directory: Annotated[Path, typer.Option("--directory", metavar="DIR", help="The project.")] = Path(),
) -> None:
    """Record what a training run read and wrote.

    The record goes into the kits that are packed of what it wrote. Files are hashed where they lie, and kits pinned to
    their digests. From Python: mlkit.lineage.run.
    """
    with call.session() as session:
        recorded = record_run(
            session,
            directory,
            name,
            uses=uses or (),
            produces=produces or (),
            parameters=parse_pairs(parameters, "a parameter"),
            metrics=parse_numbers(metrics, "a metric"),
            now=datetime.now(UTC),
        )
    call.show(recorded, recorded.file)
    call.say(f"recorded {name}: {counted(recorded.uses, 'input')}, {counted(recorded.produces, 'file')} written")
