"""`mlkit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import packing
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import write_text
from mlkit.cli.render import escape_document


@command(example="mlkit init . --name digits --version 1.2")
def init(
    call: Call,
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the files are.")] = Path(),
    name: Annotated[str | None, typer.Option("--name", help="Name of the package; else that of the directory.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version of the package.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="One line about the package.")] = None,
    author: Annotated[str | None, typer.Option("--author", help="Who made it.")] = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", metavar="N", min=0, help="Look into N levels of directories.", show_default="all"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a Kitfile that exists.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE|-", help="Write here; - is stdout.", show_default=False),
    ] = None,
    print_schema: Annotated[
        bool, typer.Option("--print-schema", help="Print the JSON Schema of Kitfiles, for editors; write nothing.")
    ] = False,
) -> None:
    """Write a Kitfile from what lies in a directory.

    Recognises weights, datasets, parameters, deployment files, code, prompts and licence by name and content, reads the
    headers of weights, and skips junk and secrets. What it was unsure of is said on stderr, and is `notes` in --json.
    """
    if print_schema:
        _show_schema(call)
        return
    with call.session() as session:
        made = packing.init(
            session, directory, name=name, version=version, description=description, author=author, depth=depth
        )
    path = None if output == Path("-") else output or directory / "Kitfile"
    if path is not None:
        write_text(path, made.text, replace=force)
    shown = escape_document(made.text).rstrip("\n") if path is None else str(path)
    call.show(packing.WrittenKitfile(path, made.text, made.notes), shown)
    call.say_all(made.notes)


def _show_schema(call: Call) -> None:
    # The models of pydantic are built for this alone.
    from mlkit.spec.kitfile_schema import kitfile_schema, render_schema

    schema = kitfile_schema()
    call.show(schema, render_schema(schema).rstrip("\n"))
