"""What a push costs when the registry has most of it already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.api.session import Session
from mlkit.content.uploads import SavedUpload, Uploads
from mlkit.spec.digest import Digest

LAYERS = 100


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def packed(tmp_path: Path, session: Session) -> str:
    """A kit of a hundred layers, the kit document among them."""
    project = tmp_path / "many"
    (project / "data").mkdir(parents=True)
    for number in range(LAYERS - 1):
        (project / f"data/{number:03d}.bin").write_bytes(os.urandom(1000))
    (project / "Kitfile").write_text(
        'manifestVersion: "1.0.0"\npackage: {name: many}\ndatasets: [{name: data, path: data}]\n'
    )
    mlkit.pack(project, tag="many:1", layers="raw", session=session)
    assert len(mlkit.inspect("many:1", session=session).layers) == LAYERS
    return "many:1"


def test_a_kit_that_is_there_costs_little_more_than_a_request_for_each_layer(
    packed: str, server: SimulatedRegistry, session: Session
) -> None:
    mlkit.push(packed, f"{server.host}/team/many:1", session=session)
    session.close()
    server.requests.clear()

    again = mlkit.push(packed, f"{server.host}/team/many:1", session=session)

    assert again.moved_bytes == 0
    assert server.received_bytes(".*/blobs/.*") == 0
    assert len(server.requests) <= LAYERS + 10


def test_a_kit_that_is_in_another_repository_moves_no_layer(
    packed: str, server: SimulatedRegistry, session: Session
) -> None:
    first = mlkit.push(packed, f"{server.host}/team/many:1", session=session)
    session.close()
    server.requests.clear()

    second = mlkit.push(packed, f"{server.host}/production/many:1", session=session)

    assert server.received_bytes(".*/blobs/.*") == 0
    assert second.digest == first.digest
    assert second.moved == 1  # the manifest: nobody mounts those
    assert second.present == LAYERS + 1


def test_a_prune_forgets_the_uploads_of_last_week_and_no_others(session: Session) -> None:
    origin, uploads = "https://registry.example", Uploads(session.layout.root / ".mlkit/uploads")
    for repository in ("old", "new"):
        with uploads.claim(origin, repository, Digest.of(b"x")) as claim:
            claim.save(SavedUpload(f"{origin}/{repository}", 0))
    for path in (session.layout.root / ".mlkit/uploads").iterdir():
        if b"/old" in path.read_bytes():
            os.utime(path, (0, 0))

    mlkit.prune(dry_run=True, session=session)
    assert len(list((session.layout.root / ".mlkit/uploads").iterdir())) == 2
    mlkit.prune(session=session)

    (left,) = (session.layout.root / ".mlkit/uploads").iterdir()
    assert b"/new" in left.read_bytes()
