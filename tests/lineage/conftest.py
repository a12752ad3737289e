"""Indexes to write facts into, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.facts import Filled
from tests.support.postgres import new_database, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a real server."""
    with postgres_server() as socket:
        yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """An empty index, in each of the two databases."""
    if request.param == "sqlite":
        location = str(tmp_path / "lineage.sqlite")
    else:
        location = new_database(request.getfixturevalue("postgres"))
    filled = Filled(location)
    yield filled
    filled.index.close()


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Iterator[Filled]:
    """An empty index in a file."""
    filled = Filled(tmp_path / "lineage.sqlite")
    yield filled
    filled.index.close()
