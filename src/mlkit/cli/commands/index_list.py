"""`mlkit index list`."""

from __future__ import annotations

from mlkit.api import indexes
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import ReferenceArgument, RemoteOption
from mlkit.spec.kit_index import label_text


@command(example="mlkit index list digits:all", network=True)
def list_index(call: Call, reference: ReferenceArgument, remote: RemoteOption = False) -> None:
    """List the kits of an index with their labels.

    Looks in the local store first, then in the registry.
    """
    with call.session() as session:
        listed = indexes.show(session, reference, remote=remote)
    rows = [
        (
            render.short(kit.digest),
            render.cell(kit.tag),
            "-" if kit.size is None else render.size(kit.size),
            "yes" if kit.is_local else "no",
            render.cell(", ".join(f"{name}={label_text(kit.labels[name])}" for name in sorted(kit.labels))),
        )
        for kit in listed.kits
    ]
    call.show(listed, render.table(("DIGEST", "TAG", "SIZE", "LOCAL", "LABELS"), rows, right=frozenset({"SIZE"})))
