"""A warm process, and worlds to break it in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.cli import write_project
from tests.support.crash.checker import names_of, tree
from tests.support.crash.machine import Machine, Outcome, can_trace, machine

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@dataclass
class World:
    """A home with a store, a project, and things beside them that nobody may touch."""

    root: Path
    machine: Machine
    environ_more: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "home" / "store"

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.root / "home"),
            "MLKIT_HOME": str(self.store),
            "MLKIT_PLAIN_HTTP_HOSTS": "loopback",
            "MLKIT_CONCURRENCY": "1",
            "LC_ALL": "C.UTF-8",
            **self.environ_more,
        }

    def run(self, *arguments: str | Path, **how: object) -> Outcome:
        return self.machine.run(self.environ, self.root, arguments, **how)  # type: ignore[arg-type]

    def ok(self, *arguments: str | Path) -> Outcome:
        done = self.run(*arguments)
        assert done.code == 0, done.stderr
        return done

    def names(self) -> dict[str, str]:
        return names_of(self.store)

    def surroundings(self) -> dict[str, str]:
        """Everything but the home and what a command may write."""
        return {name: what for name, what in tree(self.root).items() if not name.startswith(("home", "out", ".out"))}

    def copied_to(self, root: Path) -> World:
        shutil.copytree(self.root, root, symlinks=True)
        return World(root, self.machine, self.environ_more)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as found:
        yield found


@pytest.fixture(scope="session")
def tracer(warm: Machine) -> Machine:
    """A machine in which system calls can be made to fail."""
    reason = can_trace(warm)
    if reason is not None:
        pytest.skip(reason)
    return warm


MakeWorld = Callable[[str], World]


def make_world(root: Path, found: Machine) -> World:
    root.mkdir(parents=True)
    (root / "home").mkdir()
    (root / "beside").mkdir()
    (root / "beside" / "precious").write_bytes(b"nobody's business")
    write_project(root / "project")
    return World(root, found)


@pytest.fixture
def world(tmp_path: Path, warm: Machine) -> World:
    """An empty home and a project."""
    return make_world(tmp_path / "world", warm)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running
