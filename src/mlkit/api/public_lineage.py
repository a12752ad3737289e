"""The public Python API of lineage: scan, and ask."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mlkit.api import lineage
from mlkit.api.public import PathLike, _using
from mlkit.api.session import Session
from mlkit.lineage.answer import Answer, Deployed
from mlkit.lineage.report import Report, View


def index_lineage(*targets: str, quick: bool = False, session: Session | None = None) -> lineage.Indexed:
    """Scan registries, repositories and stores into the lineage index; without any, all that was ever scanned."""
    with _using(session, None) as found:
        return lineage.index(found, targets, quick=quick)


def trained_on(what: PathLike, *, refresh: bool = False, session: Session | None = None) -> Answer:
    """The kits that came of a file, directory, kit, digest or address; each hit says how it is known."""
    with _using(session, None) as found:
        return lineage.trained_on(found, str(what), refresh=refresh)


def inputs(reference: str, *, refresh: bool = False, session: Session | None = None) -> Answer:
    """Everything that a kit came from, as far as anybody said."""
    with _using(session, None) as found:
        return lineage.inputs(found, reference, refresh=refresh)


def deployed(what: PathLike, *, refresh: bool = False, session: Session | None = None) -> Deployed:
    """Which channels pointed at a kit, or at what came of something, and when."""
    with _using(session, None) as found:
        return lineage.deployed(found, str(what), refresh=refresh)


def audit(
    what: PathLike,
    report: PathLike | None = None,
    *,
    view: Literal["data", "pci", "ai-act"] = "data",
    refresh: bool = False,
    session: Session | None = None,
) -> Report:
    """All that an auditor wants beside an answer; written to `report` (.html, .json or .csv) where one is named."""
    with _using(session, None) as found:
        made = lineage.audit(found, str(what), view=View(view), refresh=refresh)
        if report is not None:
            lineage.write_report(made, Path(report))
        return made
