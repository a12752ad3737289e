"""Recording a run from outside of it, for trainings that are no Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlkit.api.session import Session
from mlkit.lineage.recording import Run, write_record
from mlkit.spec.reference import Reference


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run that was recorded."""

    name: str
    file: str
    """Where the record lies."""
    uses: int
    """Files, kits and addresses that it read."""
    produces: int
    """Files that it wrote."""


def record_run(
    session: Session,
    directory: Path,
    name: str,
    *,
    uses: Iterable[str],
    produces: Iterable[str],
    parameters: Mapping[str, str],
    metrics: Mapping[str, float],
    now: datetime,
) -> Recorded:
    """Write the record of a run that is over; kits are pinned to the digests that they have now.

    Raises: NotFoundError for a file or kit that is not there, and then nothing is written; UsageError; LimitError.
    """
    this = Run(name, directory, lambda text: session.locate(Reference.parse(text)).desc.digest)
    for what in uses:
        this.uses(what)
    for path in produces:
        this.produces(path)
    for key, text in parameters.items():
        this.parameter(key, text)
    for key, value in metrics.items():
        this.metric(key, value)
    record = this.finished(now, now, "succeeded")
    return Recorded(name, str(write_record(directory, record)), len(record.uses), len(record.produces))
