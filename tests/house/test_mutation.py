"""What `make mutate` changes and runs is there: a file that was renamed would be left out in silence."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
SELECTED = [text.removeprefix("--deselect=") for text in SETTINGS["pytest_add_cli_args_test_selection"]]


@pytest.mark.parametrize("path", SETTINGS["only_mutate"])
def test_what_is_mutated_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("node", SELECTED)
def test_the_tests_that_must_notice_are_there(node: str) -> None:
    path, *names = node.split("::")

    text = (ROOT / path).read_text(encoding="utf-8")
    assert [name for name in names if f"def {name}(" not in text and f"class {name}(" not in text] == []


def test_the_figures_name_every_file() -> None:
    page = (ROOT / "docs/reference/reliability.md").read_text(encoding="utf-8")

    assert [path for path in SETTINGS["only_mutate"] if f"`{path.removeprefix('src/mlkit/')}`" not in page] == []
