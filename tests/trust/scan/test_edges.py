"""Archives exactly at the limits of a scan, and one past them."""

from __future__ import annotations

import pytest

from mlkit.archive.limits import DEFAULT_LIMITS
from mlkit.errors import LimitError
from mlkit.trust.scan.sandbox import Limits
from mlkit.trust.scan.source import EXPANSION_LIMIT, MEMBER_LIMIT, Budget


def test_65535_members_are_looked_at_and_no_more() -> None:
    budget = Budget()
    budget.member(MEMBER_LIMIT)

    with pytest.raises(LimitError, match="65535 members"):
        budget.member()


def test_the_scan_and_the_settings_have_the_same_limits_where_nobody_sets_any() -> None:
    assert (DEFAULT_LIMITS.scan_members, DEFAULT_LIMITS.scan_bytes) == (MEMBER_LIMIT, EXPANSION_LIMIT)
    assert (Limits().members, Limits().expansion) == (MEMBER_LIMIT, EXPANSION_LIMIT)


def test_one_gibibyte_is_expanded_and_no_more() -> None:
    budget = Budget()
    budget.expand(EXPANSION_LIMIT)

    with pytest.raises(LimitError, match="1073741824 bytes"):
        budget.expand(1)
