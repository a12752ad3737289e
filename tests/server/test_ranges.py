from __future__ import annotations

import re

import pytest

from mlkit.server.ranges import chunk_range, wanted_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=95-1000", (95, 100)),
        ("bytes = 0-0", (0, 1)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0663-\u0665", None),
        ("bytes=" + "9" * 20 + "-", None),
        ("bytes=0-" + " " * 200, None),
    ],
)
def test_a_range_header_asks_for_one_range_or_for_the_whole(
    header: str | None, expected: tuple[int, int] | None
) -> None:
    assert wanted_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(ValueError, match="bytes="):
        wanted_range(header, 100)


def test_no_range_of_nothing_can_be_satisfied() -> None:
    with pytest.raises(ValueError, match="bytes="):
        wanted_range("bytes=0-0", 0)


def test_the_content_range_of_a_chunk_has_an_inclusive_end() -> None:
    assert chunk_range("0-1023") == (0, 1024)


@pytest.mark.parametrize("header", ["", "5-4", "bytes 0-1/2", "0-", "-1", "0-1-2", "a-b", "1" * 20 + "-" + "1" * 21])
def test_what_is_no_content_range_of_a_chunk_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(header)}$"):
        chunk_range(header)
