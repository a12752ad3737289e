from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.cli import CommandLine, write_project


@pytest.fixture
def mlkit(tmp_path: Path) -> CommandLine:
    """A command line with an empty home, started in a project that has a Kitfile."""
    home = tmp_path / "home"
    home.mkdir()
    return CommandLine(home, write_project(tmp_path / "project"))


@pytest.fixture
def packed(mlkit: CommandLine) -> CommandLine:
    """A command line whose store has `digits:1.2`."""
    mlkit.ok("pack", ".", "-t", "digits:1.2", "--quiet")
    return mlkit
