"""A second opinion on pickles: `modelaudit-picklescan` (extra `scan`). It is shown, and decides nothing."""

from __future__ import annotations

import io
from typing import Final, cast

from mlkit.trust.scan.source import Source
from mlkit.trust.scan.tars import SourceFile

_SIZE_LIMIT: Final = 2 << 30
_TIMEOUT: Final = 20.0


def second_opinion(source: Source, path: str) -> str | None:
    """What the other scanner says, in its words; None where it is not installed."""
    try:
        import modelaudit_picklescan
    except ImportError:
        return None
    if source.size > _SIZE_LIMIT:
        return "too large"
    stream = io.BufferedReader(SourceFile(source))
    report = modelaudit_picklescan.scan_stream(
        cast("io.BufferedReader", stream),
        source=path,
        size=source.size,
        options=modelaudit_picklescan.ScanOptions(timeout_s=_TIMEOUT),
        enrich_call_graph=False,
    )
    return str(report.verdict.value)[:40]
