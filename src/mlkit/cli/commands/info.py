"""`mlkit info`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlkit.api import looking
from mlkit.api.looking import Info
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import LabelOption, ReferenceArgument, RemoteOption, SelectOption, parse_choice


@command(example="mlkit info digits:1.2", network=True)
def info(
    call: Call,
    reference: ReferenceArgument,
    part: Annotated[
        str | None, typer.Option("--filter", metavar="ADDRESS", help="Only this part, such as 'datasets[0].path'.")
    ] = None,
    labels: LabelOption = None,
    select: SelectOption = None,
    remote: RemoteOption = False,
) -> None:
    """Print the Kitfile as it was packed, or a part of it.

    The versions of the entries follow as comments, so that the output is a Kitfile again.
    """
    choice = parse_choice(labels, select)
    with call.session() as session:
        found = looking.info(session, reference, choice=choice, part=part, remote=remote)
    call.show(found.value if part else found, _value(found.value) if part else _kitfile(found))


def _value(value: Any) -> str:
    return render.escape_document(value) if isinstance(value, str) else render.document(value)


def _kitfile(found: Info) -> str:
    rows = [
        (entry.id, render.cell(entry.version), render.cell(entry.name), render.cell(entry.path))
        for entry in found.entries
    ]
    table = render.table(("ENTRY", "VERSION", "NAME", "PATH"), rows)
    comments = "\n".join(f"# {line}" for line in (str(found.digest), *table.splitlines()))
    return f"{render.escape_document(found.kitfile_text).rstrip()}\n\n{comments}"
