"""The docs say what is true: generated pages are compared, and what the docs tell people to type is run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from tests.support.reference_docs import ROOT, commands, pages

import mlkit

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*/*.md"))]


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return pages()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/how-to/ci.md",
        *(f"docs/reference/{name}.md" for name in ("cli", "exit-codes", "kitfile", "python-api", "runtimes")),
    ],
)
def test_a_generated_page_is_up_to_date(generated: dict[Path, str], page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == generated[Path(page)], "run `make docs`"


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")

    assert len(commands()) >= 20
    assert [words for words in commands() if f"## mlkit {' '.join(words)}\n" not in page] == []


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs/reference/python-api.md").read_text(encoding="utf-8")

    assert [name for name in mlkit.__all__ if name != "__version__" and f"## mlkit.{name}\n" not in page] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_dependencies_are_listed_with_licence_and_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in project["dependency-groups"].values() for line in group),
    ]
    names = {re.split(r"[<>=~\[ ]", line)[0] for line in declared}
    table = (ROOT / "docs/development/dependencies.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]+ \| [^|]+ \|$", table, re.MULTILINE)) - {"package"}

    assert listed == names
    assert [line for line in declared if "<" not in line] == [], "every dependency has an upper bound"


def test_the_decisions_are_listed() -> None:
    folder = ROOT / "docs/adr"
    index = (folder / "README.md").read_text(encoding="utf-8")

    assert [page.name for page in sorted(folder.glob("0*.md")) if f"({page.name})" not in index] == []
