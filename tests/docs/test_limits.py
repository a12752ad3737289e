"""The page of limits says what the limits are."""

from __future__ import annotations

import re
from dataclasses import fields

from tests.support.reference_docs import ROOT

from mlkit.archive.limits import DEFAULT_LIMITS, Limits


def test_every_limit_of_archives_is_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))

    expected = {field.name: str(getattr(DEFAULT_LIMITS, field.name)) for field in fields(Limits)}
    assert {**told, "max_size": "None"} == expected
