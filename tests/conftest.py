"""What tests of several rooms need: a clean environment, and one real project, trained once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from tests.support.docker_registry import docker_registry
from tests.support.scale import SCALE

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

ROOT = Path(__file__).parents[1]

# No deadline: how long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("mlkit", max_examples=200 * SCALE, deadline=None)
hypothesis.settings.load_profile("mlkit")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, credential or proxy of whoever runs the tests reaches them."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        is_setting = name.startswith(("MLKIT_", "XDG_", "DOCKER_")) or name.upper().endswith("_PROXY")
        if is_setting and name != "MLKIT_TEST_SCALE":
            monkeypatch.delenv(name)
    for name in ("REGISTRY_AUTH_FILE", "SOURCE_DATE_EPOCH", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits example, trained; do not change it."""
    pytest.importorskip("skl2onnx", reason="the packages of the example are not installed")
    project = tmp_path_factory.mktemp("digits") / "project"
    subprocess.run([sys.executable, str(ROOT / "examples/digits/train.py"), str(project)], check=True)
    return project


@pytest.fixture
def digits(trained: Path, tmp_path: Path) -> Path:
    """A copy of the digits example of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "digits"))


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
