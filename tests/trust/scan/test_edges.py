"""Archives exactly at the limits of a scan, and one past them."""

from __future__ import annotations

import pytest

from mlkit.errors import LimitError
from mlkit.trust.scan.source import EXPANSION_LIMIT, MEMBER_LIMIT, Budget


def test_65535_members_are_looked_at_and_no_more() -> None:
    budget = Budget()
    budget.member(MEMBER_LIMIT)

    with pytest.raises(LimitError, match="65535 members"):
        budget.member()


def test_one_gibibyte_is_expanded_and_no_more() -> None:
    budget = Budget()
    budget.expand(EXPANSION_LIMIT)

    with pytest.raises(LimitError, match="1073741824 bytes"):
        budget.expand(1)
