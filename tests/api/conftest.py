from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.docker_registry import docker_registry

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@pytest.fixture(params=["docker-registry", "embedded"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each of the two registries, one after the other."""
    if request.param == "docker-registry":
        with docker_registry(tmp_path / "registry") as address:
            yield address
    else:
        with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
            yield running.host


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",)) as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Session]:
    """A colleague's session, with a store of its own."""
    with mlkit.session(home=tmp_path / "other-store", plain_http_hosts=("loopback",)) as opened:
        yield opened
