"""`mlkit inspect`."""

from __future__ import annotations

from mlkit.api import looking
from mlkit.api.looking import Inspected
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.evidence import attached_table
from mlkit.cli.options import LabelOption, ReferenceArgument, RemoteOption, SelectOption, parse_choice

_ANNOTATIONS = 100  # that people are shown; honest kits have about ten


@command(example="mlkit inspect digits:1.2", network=True)
def inspect(
    call: Call,
    reference: ReferenceArgument,
    labels: LabelOption = None,
    select: SelectOption = None,
    remote: RemoteOption = False,
) -> None:
    """Show manifest, entries, layers and what is local.

    Looks in the local store first, then in the registry. What is attached is shown by its own word: `mlkit verify`
    says whether it holds.
    """
    choice = parse_choice(labels, select)
    with call.session() as session:
        found = looking.inspect(session, reference, choice=choice, remote=remote)
    call.show(found, "\n\n".join(block for block in _blocks(found) if block))


def _blocks(found: Inspected) -> tuple[str, ...]:
    blocks = (_facts(found), _entries(found), _layers(found), _annotations(found), _referrers(found))
    return (*blocks, attached_table(found.attached))


def _facts(found: Inspected) -> str:
    where = found.source + (", partial" if found.is_partial else "")
    return render.facts(
        (
            ("reference", render.escape(found.reference)),
            ("digest", str(found.digest)),
            ("type", render.cell(found.artifact_type or found.media_type)),
            ("kind", render.cell(found.title) + ("" if found.is_kit else ", not a kit")),
            *((("problem", render.cell(found.problem)),) if found.problem else ()),
            ("size", f"{render.size(found.size)} in {render.counted(len(found.layers), 'layer')}"),
            ("found", where),
        )
    )


def _entries(found: Inspected) -> str:
    rows = [
        (entry.id, render.cell(entry.version), render.cell(entry.name), render.cell(entry.path))
        for entry in found.entries
    ]
    return render.table(("ENTRY", "VERSION", "NAME", "PATH"), rows) if rows else ""


def _layers(found: Inspected) -> str:
    rows = [
        (
            render.short(layer.digest),
            render.size(layer.size),
            "yes" if layer.is_local else "no",
            render.cell(layer.kind),
            render.cell(layer.entry),
            render.cell(layer.path),
        )
        for layer in found.layers
    ]
    headings = ("LAYER", "SIZE", "LOCAL", "KIND", "ENTRY", "PATH")
    return render.table(headings, rows, right=frozenset({"SIZE"})) if rows else ""


def _annotations(found: Inspected) -> str:
    first = sorted(found.annotations)[:_ANNOTATIONS]
    names = {name: render.cell(name) for name in first}
    room = render.room_beside(max(map(len, names.values()), default=0))
    rows = [(shown, render.cell(found.annotations[name], room)) for name, shown in names.items()]
    more = len(found.annotations) - len(first)
    lines = [render.table(("ANNOTATION", "VALUE"), rows)] if rows else []
    return "\n".join([*lines, *([f"and {more} more, which --json has"] if more else [])])


def _referrers(found: Inspected) -> str:
    rows = [
        (render.short(desc.digest), render.size(desc.size), render.cell(desc.artifact_type or desc.media_type))
        for desc in found.referrers
    ]
    return render.table(("REFERRER", "SIZE", "TYPE"), rows, right=frozenset({"SIZE"})) if rows else ""
