"""The real programs of the field, each with a home of the test's own; a test skips where one is not installed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.tools import find_tool

_TIMEOUT = 120.0  # seconds; a hang guard


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Program:
    """A real program with the flags and the environment that keep it inside one folder."""

    name: str
    flags: tuple[str, ...] = ()
    home: Path | None = None

    def __call__(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """What it printed. Fails the test, with what it said, where it ends with an error."""
        ended = self.end(*arguments, cwd=cwd)
        assert ended.code == 0, f"{self.name} {' '.join(map(str, arguments))}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def found(self) -> Path:
        """Where it is; skips the test where it is not installed."""
        program = find_tool(self.name)
        if program is None:
            pytest.skip(f"{self.name} is not installed")
        return program

    def end(self, *arguments: str | Path, cwd: Path | None = None) -> Ended:
        """How it ended, well or not."""
        program = self.found()
        home = {} if self.home is None else {"HOME": str(self.home)}
        # Some leave folders behind when they end well, too; oras does.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            done = subprocess.run(
                [program, *self.flags, *map(str, arguments)],
                cwd=cwd,
                env=os.environ | home | {"TMPDIR": temporary},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT,
            )
        return Ended(done.returncode, done.stdout, done.stderr)


def kit_program(home: Path) -> Program:
    """`kit` of KitOps, with its local storage in `home`."""
    return Program("kit", ("--config", str(home / "kit"), "--progress", "none"), home)


def modctl_program(home: Path) -> Program:
    """`modctl` of ModelPack, with its local storage in `home`."""
    flags = ("--no-progress", "--log-dir", str(home / "log"), "--storage-dir", str(home / "modctl"))
    return Program("modctl", flags, home)


def tree(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file below a folder, with its bytes and whether its owner may execute it; the Kitfile is left out."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root) != Path("Kitfile")
    }
