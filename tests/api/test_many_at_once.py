"""Many processes pack and pull at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.test_concurrency import at_once
from tests.support.cli import write_project
from tests.support.crash.checker import names_of

import mlkit
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running


def leftovers(store: Path) -> list[str]:
    return [path.name for path in (store / ".mlkit" / "ingest").glob("*")]


def test_fault23_eight_packs_at_once_make_one_blob_of_each_and_every_name(tmp_path: Path) -> None:
    store = tmp_path / "store"
    projects = [write_project(tmp_path / f"project-{number}") for number in range(8)]
    for number, project in enumerate(projects):
        (project / "data" / "test.csv").write_text(f"{number}\n")

    def pack(number: int) -> None:
        with mlkit.session(home=store) as session:
            mlkit.pack(projects[0], tag=f"same:{number}", session=session)
            mlkit.pack(projects[number], tag=f"other:{number}", session=session)

    at_once(8, pack)

    names = names_of(store)
    assert set(names) == {f"{name}:{number}" for name in ("same", "other") for number in range(8)}
    assert len({names[f"same:{number}"] for number in range(8)}) == 1
    assert len(set(names.values())) == 8
    assert leftovers(store) == []


def test_fault24_four_pulls_of_one_kit_at_once_all_succeed(tmp_path: Path, registry: RunningRegistry) -> None:
    project = write_project(tmp_path / "project")
    (project / "model" / "weights.safetensors").write_bytes(bytes(12 << 20))
    name = f"{registry.host}/team/digits:1"
    with mlkit.session(home=tmp_path / "mine", plain_http_hosts=("loopback",)) as session:
        digest = mlkit.pack(project, tag=name, session=session).digest
        mlkit.push(name, session=session)
    store = tmp_path / "store"

    def pull(number: int) -> None:
        with mlkit.session(home=store, plain_http_hosts=("loopback",)) as session:
            assert mlkit.pull(name, session=session).digest == digest
            mlkit.unpack(name, tmp_path / f"out-{number}", session=session)

    at_once(4, pull)

    assert names_of(store) == {name: str(digest)}
    assert leftovers(store) == []
