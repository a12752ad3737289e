"""A report that an auditor keeps: question, answer with its evidence, scope and limits, and how to ask again.

Values, and their forms as JSON and CSV; the page is in `report_page`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mlkit.lineage.answer import Answer, Deployed, Hit

SCHEMA: Final = "https://mlkit.dev/lineage-report/v1"


class View(StrEnum):
    """What a report is for."""

    DATA = "data"
    """Which models came of this data, and where did they run?"""
    PCI = "pci"
    """Where is this data: what holds it, and what came of it (PCI DSS 4.0.1, 12.5.2)?"""
    AI_ACT = "ai-act"
    """Where does the training data of this model come from (Regulation (EU) 2024/1689, Annex IV, 2 (d))?"""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says."""

    view: View
    answer: Answer
    """Of `trained-on`; of the view `ai-act`, of `inputs`."""
    deployed: Deployed | None
    command: str
    """What asks the same again."""
    mlkit: str
    """Version of mlkit."""

    @property
    def holders(self) -> tuple[Hit, ...]:
        """The kits that hold the very bytes that were asked for."""
        return tuple(hit for hit in self.answer.hits if len(hit.steps) == 2 and hit.steps[1].relation == "is in")

    @property
    def descendants(self) -> tuple[Hit, ...]:
        """What came of these."""
        held = {hit.thing.key for hit in self.holders}
        return tuple(hit for hit in self.answer.hits if hit.thing.key not in held)


def render_report_json(report: Report) -> str:
    """One JSON document with everything."""
    value = {
        "schema": SCHEMA,
        **dataclasses.asdict(report),
        "counts": dict(report.answer.counts),
        "is_whole": report.answer.scope.is_whole and not report.answer.gaps,
    }
    return json.dumps(value, indent=2) + "\n"


def render_report_csv(report: Report) -> str:
    """One line for each step of each hit, for a spreadsheet; scope and gaps are in the other forms."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(_COLUMNS)
    for number, hit in enumerate(report.answer.hits, 1):
        for place, step in enumerate(hit.steps):
            evidence = step.evidence
            writer.writerow(
                _cell(value)
                for value in (
                    number,
                    hit.standing,
                    hit.thing.key,
                    " ".join(hit.thing.names),
                    "" if hit.thing.has_model is None else hit.thing.has_model,
                    place,
                    step.relation or "",
                    step.thing.key,
                    step.name or "",
                    step.standing if step.relation else "",
                    evidence.where if evidence else "",
                    (evidence.digest or "") if evidence else "",
                    " ".join(evidence.signed_by) if evidence else "",
                )
            )
    return sink.getvalue()


_COLUMNS = (
    "hit",
    "standing",
    "kit",
    "names",
    "has_model",
    "step",
    "relation",
    "thing",
    "name",
    "step_standing",
    "evidence",
    "evidence_digest",
    "signed_by",
)


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
