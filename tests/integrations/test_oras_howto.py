"""The programs of the how-to are run, in the order in which people read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.reference_docs import ROOT


def test_the_programs_of_the_how_to_run_as_written(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/how-to/oras-py.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures").mkdir()
    for name in ("notes.txt", "card.md", "figures/one.svg"):
        (tmp_path / name).write_text(f"{name}\n")

    for program in programs:
        names: dict[str, Any] = {"HOST": host}
        exec(compile(program, "oras-py.md", "exec"), names)

    assert len(programs) == 4
    assert (tmp_path / "pulled/figures/one.svg").read_text() == "figures/one.svg\n"
    assert list((tmp_path / "layout/blobs/sha256").iterdir()) != []
