"""Wildcards within one name."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.archive.glob import matcher, matches_stars


@given(pattern=st.text("ab*\n", max_size=8), text=st.text("ab\n", max_size=8))
def test_stars_match_what_pythons_own_wildcards_do(pattern: str, text: str) -> None:
    assert matches_stars(pattern, text) == fnmatchcase(text, pattern) == matcher(pattern)(text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*a*b", "ab", True),
        ("a*a", "a", False),  # one letter is not both ends
        ("ab*b", "ab", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("", "", True),
        ("*", "", True),
        ("?", "a", False),
        ("[a]", "a", False),
        ("[a]*", "[a]b", True),
    ],
)
def test_stars_alone_have_a_meaning(pattern: str, text: str, expected: bool) -> None:
    assert matches_stars(pattern, text) is expected


def test_many_stars_take_no_longer_than_the_text_is_long() -> None:
    assert not matches_stars("*a" * 10_000 + "b", "a" * 100_000)
    assert not matcher("*a" * 100 + "b")("a" * 10_000)
