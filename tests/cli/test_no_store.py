"""Where there is no store yet: what only looks does not make one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.cli import CommandLine


@pytest.fixture
def mlkit(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("list", 0),
        ("list digits", 3),
        ("doctor", 0),
        ("inspect digits:1", 3),
        ("info digits:1", 3),
        ("cat digits:1 a", 3),
        ("unpack digits:1 -d out", 3),
        ("tag digits:1 digits:2", 3),
        ("remove digits:1", 3),
        ("push digits:1 registry.invalid/digits:1", 3),
        ("prune", 0),
        ("config show", 0),
    ],
)
def test_who_only_looks_makes_no_store(mlkit: CommandLine, arguments: str, code: int) -> None:
    done = mlkit(*arguments.split())

    assert done.code == code, done.stderr
    assert not (mlkit.home / "store").exists()


def test_who_packs_makes_one(mlkit: CommandLine) -> None:
    (mlkit.cwd / "project").mkdir()
    (mlkit.cwd / "project" / "a.csv").write_text("1,2\n")

    mlkit.ok("pack", "project", "-t", "a:1")

    assert "a:1" in mlkit.ok("list").stdout
    assert (mlkit.home / "store" / ".mlkit" / "stat-cache.sqlite").exists()
