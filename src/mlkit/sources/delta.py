"""The version of a Delta Lake table, from its log.

Delta Transaction Log Protocol, "Delta Log Entries" and "Change Metadata": `_delta_log/NNNNNNNNNNNNNNNNNNNN.json`, one
JSON object a line; version n is the n-th of them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.sources.small_files import read_small
from mlkit.spec.json_text import parse_object

_ENTRY = re.compile(r"(\d{20})\.json")
_LIMIT = 4 * 1024 * 1024  # bytes of one entry that are read for the table's name; metadata comes in the first lines
_LOOKED_AT = 1000  # entries, the newest first, in which the metadata is looked for


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it lies on the disk."""

    version: int
    table_id: str | None
    """A UUID; None where the log does not say it any more."""


def table(directory: Path) -> Table | None:
    """The table in a directory; None where there is none."""
    try:
        names = os.listdir(directory / "_delta_log")
    except OSError:
        return None
    versions = sorted((int(matched[1]) for name in names if (matched := _ENTRY.fullmatch(name))), reverse=True)
    if not versions:
        return None
    ids = (
        _table_id(directory / "_delta_log" / f"{version:020}.json")
        for version in (versions[-1], *versions[:_LOOKED_AT])
    )
    return Table(versions[0], next((found for found in ids if found), None))


def _table_id(path: Path) -> str | None:
    raw = read_small(path, limit=_LIMIT)
    for line in (raw or b"").splitlines():
        if b'"metaData"' not in line:
            continue
        try:
            said: Any = parse_object(line, what=path.name).get("metaData")
        except (IntegrityError, LimitError):
            continue
        table_id = said.get("id") if isinstance(said, dict) else None
        if isinstance(table_id, str) and len(table_id) <= 64:
            return table_id
    return None
