"""`mlkit diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import looking
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.packing.diff import EntryChange, FieldChange, FileChange, KitDiff

_Kit = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="local:// or remote:// in front says where to look.", autocompletion=complete_reference
    ),
]


@command(example="mlkit diff digits:1.1 digits:1.2", network=True)
def diff(call: Call, before: _Kit, after: _Kit) -> None:
    """Compare two kits; exit 1 when they differ.

    Shows Kitfile fields, entry versions, and files that were added, removed or changed.
    """
    with call.session() as session:
        found = looking.diff(session, before, after)
    call.show(found, _text(found))
    raise typer.Exit(0 if found.is_same else 1)


def _text(found: KitDiff) -> str:
    return "\n".join(
        [
            *map(_field, found.fields),
            *map(_entry, found.entries),
            *(_file("-", file) for file in found.removed),
            *(_file("+", file) for file in found.added),
            *(_file("~", file) for file in found.changed),
        ]
        or ["the kits are the same"]
    )


def _field(change: FieldChange) -> str:
    return f"Kitfile {render.escape(change.path)}: {_value(change.before)} -> {_value(change.after)}"


def _entry(change: EntryChange) -> str:
    return f"entry {change.id}: version {render.cell(change.before)} -> {render.cell(change.after)}"


def _file(mark: str, change: FileChange) -> str:
    sign = "+" if change.delta >= 0 else "-"
    return f"{mark} {render.escape(change.path)} ({sign}{render.size(abs(change.delta))})"


def _value(value: object) -> str:
    return "nothing" if value is None else render.cell(value if isinstance(value, str) else render.document(value))
