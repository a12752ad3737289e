"""The page on interoperability says what the tests do: every cell is a test that exists, or a reason that is given."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from tests.interop.test_kitops import WRITTEN
from tests.support.install_tools import DEBIAN, GO

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/interop.md"
SUITES = (
    "test_kitops",
    "test_modctl",
    "test_oras",
    "test_foreign",
    "test_kit_faults",
    "test_kits",
    "test_signatures",
    "test_model_signing",
    "test_images",
    "test_init_container",
)
# What they show is a part of what tests on the page show.
UNLISTED = {"test_oras_pulls_the_files_of_a_kit", "test_mlkit_looks_at_what_is_no_kit"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its head left out."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def named() -> dict[str, str]:
    return dict(rows("Tests"))


@cache
def reasons() -> frozenset[str]:
    given = {name for name, reason in rows("Reasons") if reason}
    return frozenset(given | set(re.findall(r"^(R\d+): \S", PAGE.read_text(encoding="utf-8"), re.MULTILINE)))


def test_every_named_test_exists() -> None:
    missing = []
    for test in named().values():
        file, _, function = test.partition("::")
        path = ROOT / "tests" / file
        if not path.is_file() or function not in functions(path):
            missing.append(test)

    assert missing == []


@pytest.mark.parametrize(
    ("heading", "first"),
    [
        ("What mlkit packs", 3),
        ("What mlkit reads", 2),
        ("Images", 2),
        ("Signatures", 1),
        ("What other programs cannot do with a kit", 2),
        ("Faults of `kit` that mlkit does not have", 1),
    ],
)
def test_every_cell_is_a_test_or_a_reason(heading: str, first: int) -> None:
    cells = [cell for row in rows(heading) for cell in row[first:]]

    assert len(cells) >= 5
    assert [cell for cell in cells for name in cell.split(", ") if name not in named() and name not in reasons()] == []


def test_every_combination_that_is_written_has_its_row() -> None:
    table = {(row[0], row[1], row[2]): row[3:] for row in rows("What mlkit packs")}

    assert set(table) == set(WRITTEN)
    for (_, _, compression), (kit, modctl, oras) in table.items():
        assert (kit, oras) == ("kit-unpack", "oras-pull")
        assert modctl == ("modctl-extract" if compression == "none" else "R1")


def test_every_interop_test_is_on_the_page() -> None:
    listed = {test.rpartition("::")[2] for test in named().values()}
    written = {
        name for suite in SUITES for name in functions(ROOT / f"tests/interop/{suite}.py") if name.startswith("test_")
    }

    assert written - listed - UNLISTED == set()


def test_every_name_and_reason_is_used() -> None:
    body = PAGE.read_text(encoding="utf-8").split("\n## Tests\n")[0]

    assert [name for name in named() if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", body)] == []
    assert [name for name in reasons() if len(re.findall(rf"\b{name}\b", body)) < 2] == []


def test_the_versions_are_those_that_are_installed_for_the_tests() -> None:
    versions = {name: (version, source) for name, version, source in rows("The programs")}

    for name in ("kit", "modctl", "oras", "crane"):
        module, pinned, _ = GO[name]
        assert versions[name] == (pinned, f"{module}, built with Go")
    assert {"skopeo", "umoci", "docker-registry"} <= versions.keys() & set(DEBIAN)
