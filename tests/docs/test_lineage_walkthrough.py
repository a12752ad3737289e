"""The how-to for card numbers in a dataset, run as written on the kits of the example and what was made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.test_walkthroughs import bash_blocks, run
from tests.support.lineage import Team, weights

import mlkit
from mlkit.api import releases
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.reference import Reference


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[str, str]]:
    first = RunningRegistry(Layout.create(tmp_path / "first"))
    second = RunningRegistry(Layout.create(tmp_path / "second"))
    with first, second:
        yield first.host, second.host


def test_the_how_to_for_card_numbers_runs_as_written(
    session: Session, tmp_path: Path, trained: Path, hosts: tuple[str, str]
) -> None:
    first, second = hosts
    poisoned = (trained / "data/train.parquet").read_bytes()
    work = tmp_path / "work"
    work.mkdir()
    (work / "found.parquet").write_bytes(poisoned)
    expected = _company(session, tmp_path, trained, first, second, poisoned)
    home = tmp_path / "auditor"

    printed = run(
        bash_blocks("docs/how-to/pci-data-found.md"), work, REGISTRY=first, OTHER=second, MLKIT_HOME=str(home)
    )

    again = json.loads((work / "again.json").read_text())
    report = json.loads((work / "report.json").read_text())
    assert _hits(again) == _hits(report["answer"]) == expected
    assert f"production: {first}/team/digits:1.2" in printed.replace("\n", " ")
    assert f"{second}/team/silent:1" in printed
    assert {target["name"] for target in again["scope"]["targets"]} == {first, second, str(home)}
    assert (work / "report.html").read_text().count('class="hit"') == len(expected)
    assert len((work / "report.csv").read_text().splitlines()) > len(expected)


def _company(
    session: Session, tmp_path: Path, trained: Path, first: str, second: str, poisoned: bytes
) -> dict[str, str]:
    """Kits that the file got into, in every way there is, and two that it did not; gives the standing of each hit."""
    team = Team(session, tmp_path / "projects")
    shutil.copytree(trained, tmp_path / "digits")
    mlkit.pack(tmp_path / "digits", tag="digits:1.2", session=session)
    direct = team.push("digits:1.2", f"{first}/team/digits:1.2")
    releases.promote(session, Reference.parse(direct), "production")
    team.kit("renamed:1", model=weights("renamed"), datasets={"other/name.bin": poisoned})
    renamed = team.push("renamed:1", f"{second}/team/renamed:1")
    team.kit("clean:1", datasets={"clean.csv": b"clean,1\n" * 200}, inputs=[f"role: dataset, ref: '{direct}'"])
    derived = team.push("clean:1", f"{first}/data/clean:1")
    team.kit("base:1", model=weights("base"), inputs=[f"role: dataset, ref: '{derived}'"])
    base = team.push("base:1", f"{first}/team/base:1")
    team.kit("tuned:1", model=weights("tuned"), inputs=[f"role: base-model, ref: '{base}'"])
    tuned = team.push("tuned:1", f"{second}/team/tuned:1")
    team.kit("again:1", model=weights("again"), inputs=[f"role: adapter-base, ref: '{tuned}'"])
    again = team.push("again:1", f"{second}/team/again:1")
    team.kit("copy:1", model=weights("again"))
    copied = team.push("copy:1", f"{second}/team/copy:1")
    team.kit("silent:1", model=weights("silent"))
    team.push("silent:1", f"{second}/team/silent:1")
    return dict.fromkeys([direct, renamed, derived, base, tuned, again], "stated") | {copied: "inferred"}


def _hits(answer: dict[str, Any]) -> dict[str, str]:
    return {
        name: hit["standing"] for hit in answer["hits"] for name in hit["thing"]["names"] if "production" not in name
    }
