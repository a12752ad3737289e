"""Real programs under test leave nothing behind."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import Program


def test_what_a_program_leaves_in_its_temporary_folder_goes_with_it(tmp_path: Path) -> None:
    for home in (None, tmp_path):
        made = Path(Program("mktemp", (), home)("-d").strip())

        assert not made.exists()
        assert not made.parent.exists(), "the folder was the program's own"
