"""`mlkit.scan`: what loading the files of a kit would do, for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mlkit.api import scanning
from mlkit.api.public import _using
from mlkit.api.scanning import ScanOptions
from mlkit.api.session import Session
from mlkit.spec.reference import Reference
from mlkit.trust.scan.report import ScanReport


def scan(
    target: str | os.PathLike[str],
    *,
    filters: Iterable[str] = (),
    remote: bool = False,
    secrets: bool = True,
    second_opinion: bool = False,
    verify: bool = False,
    session: Session | None = None,
) -> ScanReport:
    """Look for what loading files would do: those of a kit, by its reference, or of a path, given as `Path`.

    `report.verdict` is "clean" only where everything was looked at and nothing found. Of large layers only parts are
    read, and `report.coverage.is_verified` tells; with `verify` every byte is checked against the kit's digests.
    """
    options = ScanOptions(secrets=secrets, opinion=second_opinion, verify=verify)
    with _using(session, None) as using:
        if isinstance(target, str):
            reference = Reference.parse(target)
            return scanning.scan(using, reference, filters=tuple(filters), remote=remote, options=options)
        return scanning.scan_path(using, Path(target), options=options)
