"""How the settings of a session reach a pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.api import packing
from mlkit.api.session import Session
from mlkit.api.settings import load_settings
from mlkit.packing.plan import PackOptions


@pytest.mark.parametrize(
    ("environ", "own", "expected"),
    [({}, None, None), ({"MLKIT_CONCURRENCY": "3"}, None, 3), ({"MLKIT_CONCURRENCY": "3"}, 5, 5)],
    ids=["nobody says", "the settings say", "the caller says"],
)
def test_a_pack_reads_as_many_layers_at_once_as_was_asked_for(
    environ: dict[str, str], own: int | None, expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    settings = load_settings({"HOME": str(tmp_path / "home"), **environ}, tmp_path)

    with Session(settings) as session:
        prepared = packing.plan(session, tmp_path, options=PackOptions(concurrency=own))

    assert prepared.plan.options.concurrency == expected
