"""oras-py's own client and ours, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oras.provider
import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.integrations.oras import Registry

Client = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def ours() -> Iterator[Client]:
    """Makes clients that speak http; they are closed when the test ends."""
    opened: list[Registry] = []

    def make(hostname: str | None = None, **more: Any) -> Registry:
        opened.append(Registry(hostname, **{"insecure": True, **more}))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def plain() -> Iterator[Client]:
    """Makes clients of oras-py as it is."""
    opened: list[oras.provider.Registry] = []

    def make(hostname: str | None = None, **more: Any) -> oras.provider.Registry:
        opened.append(oras.provider.Registry(hostname, **{"insecure": True, **more}))
        return opened[-1]

    yield make
    for client in opened:
        client.session.close()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with something to push in it."""
    work = tmp_path / "work"
    (work / "notes").mkdir(parents=True)
    (work / "artifact.txt").write_text("hello dinosaur\n")
    (work / "notes/one.txt").write_text("one\n")
    (work / "notes/two.txt").write_text("two\n")
    monkeypatch.chdir(work)
    return work
