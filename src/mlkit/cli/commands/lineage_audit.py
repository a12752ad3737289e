"""`mlkit lineage audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.api import lineage
from mlkit.api.lineage import View
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.lineage_text import answer_document, deployed_document, foot
from mlkit.cli.options import RefreshOption, SubjectArgument

_Report = Annotated[
    Path,
    typer.Option("--report", metavar="FILE", help="Where to write it: .html, .json or .csv.", show_default=False),
]
_View = Annotated[
    View,
    typer.Option(
        "--view",
        metavar="VIEW",
        help="data: which models came of it; pci: where it is; ai-act: the training data of a model.",
    ),
]


@command(example="mlkit lineage audit data/train.csv --report report.html", network=True)
def audit(
    call: Call, what: SubjectArgument, report: _Report, view: _View = View.DATA, refresh: RefreshOption = False
) -> None:
    """Write a report that an auditor can keep.

    Question, answer, evidence, signatures, scope, limits, a picture, and how to ask again, on one page that loads
    nothing. Exit 1 when nothing was found in what was scanned.
    """
    with call.session() as session:
        found = lineage.audit(session, what, view=view, refresh=refresh)
        lineage.write_report(found, report)
    value: dict[str, Any] = {**render.jsonable(found), "report": str(report), "answer": answer_document(found.answer)}
    if found.deployed is not None:
        value["deployed"] = deployed_document(found.deployed)
    call.show(value, f"{render.escape(str(report))}\n\n{foot(found.answer)}")
    raise typer.Exit(0 if found.answer.hits else 1)
