"""`mlkit doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import access
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="mlkit doctor", network=True)
def doctor(
    call: Call,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Registries that should answer.", show_default=False)
    ] = None,
) -> None:
    """Check home, disk, registries, credentials and clock.

    Exit 1 when something is broken.
    """
    with call.session() as session:
        findings = access.doctor(session, hosts or ())
    rows = [(finding.status, finding.name, render.cell(finding.detail)) for finding in findings]
    hints = [f"{finding.name}: {render.escape(finding.hint)}" for finding in findings if finding.hint]
    table = render.table(("STATUS", "WHAT", "DETAIL"), rows)
    call.show(findings, "\n".join([table, *(("", *hints) if hints else ())]))
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)
