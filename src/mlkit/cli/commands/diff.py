"""`mlkit diff`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlkit.api import looking
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.packing.diff import EntryChange, FieldChange, FileChange, KitDiff

_Before = Annotated[
    str,
    typer.Argument(
        metavar="A",
        help="A reference; local:// or remote:// in front says where to look.",
        show_default=False,
        autocompletion=complete_reference,
    ),
]
_After = Annotated[
    str,
    typer.Argument(metavar="B", help="What to compare it with.", show_default=False, autocompletion=complete_reference),
]


@command(example="mlkit diff digits:1.1 digits:1.2", network=True)
def diff(call: Call, before: _Before, after: _After) -> None:
    """Compare two kits; exit 1 when they differ.

    Shows Kitfile fields, entry versions, and files that were added, removed or changed.
    """
    with call.session() as session:
        found = looking.diff(session, before, after)
    call.show(_document(found), _text(found))
    raise typer.Exit(0 if found.is_same else 1)


def _document(found: KitDiff) -> dict[str, Any]:
    files = {"added": found.added, "removed": found.removed, "changed": found.changed}
    return {
        "is_same": found.is_same,
        "before": found.before,
        "after": found.after,
        "delta": found.delta,
        "fields": found.fields,
        "entries": found.entries,
        **{name: [{**render.jsonable(file), "delta": file.delta} for file in some] for name, some in files.items()},
    }


def _text(found: KitDiff) -> str:
    lines = [
        *map(_field, found.fields),
        *map(_entry, found.entries),
        *(_file("-", file) for file in found.removed),
        *(_file("+", file) for file in found.added),
        *(_file("~", file) for file in found.changed),
    ]
    return "\n".join([*lines, f"in all {_signed(found.delta)}"] if lines else ["the kits are the same"])


def _field(change: FieldChange) -> str:
    return f"Kitfile {render.escape(change.path)}: {_value(change.before)} -> {_value(change.after)}"


def _entry(change: EntryChange) -> str:
    name = f" {render.cell(change.name)}" if change.name else ""
    return f"{change.id}{name} {change.kind}: version {render.cell(change.before)} -> {render.cell(change.after)}"


def _file(mark: str, change: FileChange) -> str:
    return f"{mark} {render.escape(change.path)} ({_signed(change.delta)})"


def _signed(delta: int) -> str:
    return f"{'-' if delta < 0 else '+'}{render.size(abs(delta))}"


def _value(value: object) -> str:
    return "nothing" if value is None else render.cell(value if isinstance(value, str) else render.document(value))
