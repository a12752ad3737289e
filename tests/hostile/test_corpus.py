"""Every input of the corpus meets the command line: nothing gets out, nothing is half done, and it ends in time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.corpus import archives, documents, words
from tests.support.corpus.case import MEMORY, Case, World, meet, surroundings

# Imported once, here: every input is met in a fork of this process.
import mlkit.api.looking
import mlkit.api.packing
import mlkit.api.transfer
import mlkit.cli.commands.inspect
import mlkit.cli.commands.pack
import mlkit.cli.commands.unpack
import mlkit.packing.foreign  # noqa: F401

CASES = tuple(
    replace(case, name=f"{case.name} ({number})")
    for number, case in enumerate(itertools.chain(archives.cases(), documents.cases(), words.cases()))
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[1:-1][:80])
def test_a_hostile_input_is_refused_in_time_and_changes_nothing(case: Case, tmp_path: Path) -> None:
    world = World.make(tmp_path / "world")
    arguments = case.make(world)
    before = surroundings(world)

    outcome = meet(case, world, arguments)

    assert outcome.code in case.codes, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not [one for one in outcome.stdout + outcome.stderr if not (one.isprintable() or one == "\n")]
    assert outcome.grown <= MEMORY
    may_change = ("work/out", "store/") if not case.keeps else ("store/blobs/",) if case.heals else ()
    after = surroundings(world)
    assert _without(after, may_change) == _without(before, may_change)
    if outcome.code:
        assert outcome.stderr.startswith("error: ")


def _without(told: dict[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {path: what for path, what in told.items() if not path.startswith(prefixes)} if prefixes else told


def test_the_corpus_has_hundreds_of_inputs_and_each_its_own_name() -> None:
    names = [case.name for case in CASES]

    assert len(names) == len(set(names))
    assert len([name for name in names if not name.startswith("control")]) >= 400
