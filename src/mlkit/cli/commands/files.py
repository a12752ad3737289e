"""`mlkit files`."""

from __future__ import annotations

from mlkit.api import looking
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import FilterOption, LabelOption, ReferenceArgument, RemoteOption, SelectOption, parse_choice


@command(example="mlkit files digits:1.2 --filter datasets", network=True)
def files(
    call: Call,
    reference: ReferenceArgument,
    labels: LabelOption = None,
    select: SelectOption = None,
    filters: FilterOption = None,
    remote: RemoteOption = False,
) -> None:
    """List every file with its size, digest and layer."""
    choice = parse_choice(labels, select)
    with call.session() as session:
        listed = looking.files(session, reference, choice=choice, filters=filters or (), remote=remote)
    rows = [
        (
            render.size(file.size),
            render.short(file.digest) if file.digest else "-",
            render.short(file.layer),
            render.escape(file.path),
        )
        for file in listed
    ]
    call.show(listed, render.table(("SIZE", "DIGEST", "LAYER", "PATH"), rows, right=frozenset({"SIZE"})))
    call.say(f"{render.counted(len(listed), 'file')}, {render.size(sum(file.size for file in listed))}")
