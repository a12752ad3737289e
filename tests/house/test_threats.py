"""Every row of the catalogue of threats is the subject of exactly one test, which has it in its name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = [
    *(f"a{number:02}" for number in range(1, 34)),
    *(f"b{number:02}" for number in range(1, 25)),
    *(f"c{number:02}" for number in range(1, 7)),
    *(f"d{number:02}" for number in range(1, 13)),
    *(f"e{number:02}" for number in range(1, 31)),
    *(f"f{number:02}" for number in range(1, 21)),
    *(f"g{number:02}" for number in range(1, 15)),
    *(f"h{number:02}" for number in range(1, 21)),
    *(f"fault{number:02}" for number in range(1, 56)),
]
"""Archives, documents, names, Kitfiles, models; answers of registries, challenges and credentials; signatures; faults
of processes, disks, networks, registries and clocks."""


@pytest.fixture(scope="module")
def named() -> Counter[str]:
    """How many test functions have each row in their names."""
    found: Counter[str] = Counter()
    for path in TESTS.rglob("test_*.py"):
        names = re.findall(r"^ *def test_([a-z]+[0-9]+)_", path.read_text(encoding="utf-8"), re.MULTILINE)
        found.update(names)
    return found


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_in_the_name_of_one_test(row: str, named: Counter[str]) -> None:
    assert named[row] == 1
