"""`mlkit lineage index`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import lineage
from mlkit.api.lineage import Indexed
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.lineage.scan import Scan

_SHOWN = 20  # failures of one target; all of them are in --json
_Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET...",
        help="A registry (host), a repository (host/repository), a folder with a store, or @FILE with a list; "
        "none: the local store and all that was scanned before.",
        show_default=False,
    ),
]
_Quick = Annotated[
    bool, typer.Option("--quick", help="Do not look for new attestations on kits that are known already.")
]


@command(example="mlkit lineage index localhost:5000 --plain-http", network=True)
def index(call: Call, targets: _Targets = None, quick: _Quick = False) -> None:
    """Scan stores, repositories and registries for lineage.

    Only what is new is read. What could not be read is listed, and the exit code is 0 all the same: what was read is
    in the index. Where a TARGET that is named here gave nothing, since it could not be reached, the exit code is 7, or
    6 where it lets nobody in; the others are in the index by then. Killed, it goes on where it was.
    """
    with call.session() as session:
        done = lineage.index(session, targets or (), quick=quick)
    call.warn_all(render.escape(note) for note in done.notes)
    call.show({**render.jsonable(done), "is_whole": done.is_whole}, _text(done))
    if targets and done.exit_code:
        raise typer.Exit(done.exit_code)


def _text(done: Indexed) -> str:
    lines = [line for scan in done.scans for line in _scan(scan)]
    return "\n".join(render.wrapped(lines))


def _scan(scan: Scan) -> list[str]:
    others = f", {scan.others} tags of other things" if scan.others else ""
    state = "unchanged" if scan.is_unchanged else "NOT WHOLE" if scan.problem or scan.failed else "whole"
    lines = [f"{render.escape(scan.target)}: {state}, {scan.read} new, {scan.known} known{others}"]
    if scan.problem:
        lines.append(f"  {render.cell(scan.problem, 300)}")
    shown = list(scan.failed.items())[:_SHOWN]
    lines += [f"  {render.cell(what)}: {render.cell(why, 300)}" for what, why in shown]
    if len(scan.failed) > _SHOWN:
        lines.append(f"  and {len(scan.failed) - _SHOWN} more (--json shows them)")
    return lines
