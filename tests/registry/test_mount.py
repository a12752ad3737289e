"""Blobs that a registry takes over from another of its repositories."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.content.contract import blob, push_manifest, read
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer

from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.places import Places
from mlkit.content.storage import BytesContent
from mlkit.registry.host import Registry
from mlkit.registry.memory import Memory
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor

LAYER = bytes(range(256)) * 100


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "seen.sqlite"


def push(store: RegistryStore, content: bytes) -> Descriptor:
    desc = blob(content)
    store.push(desc, BytesContent(content))
    return desc


class Run:
    """Clients that leave to each other what lies in one file."""

    def __init__(self, connect: Connect, seen: Path) -> None:
        self._connect = connect
        self._seen = seen

    def open(self, server: SimulatedRegistry, *credential: object) -> tuple[Registry, Places]:
        places = Places(self._seen)
        return self._connect(server.host, *credential, memory=Memory(places=places)), places

    def pushed(self, server: SimulatedRegistry, layout: Layout, root: Descriptor, repository: str) -> RegistryStore:
        """The repository, after a run that copied the kit there; the log tells of this run alone."""
        server.requests.clear()
        registry, places = self.open(server)
        store = registry.repository(repository)
        copy(layout, store, root)
        registry.close()
        places.close()
        return self._connect(server.host).repository(repository)


@pytest.fixture
def run(connect: Connect, seen: Path) -> Run:
    return Run(connect, seen)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "store")


def posts(server: SimulatedRegistry) -> list[dict[str, str]]:
    return [request.query for request in server.requests if request.method == "POST"]


@pytest.mark.parametrize("status", [202, 404, 405, 400, 403, 500])
def test_f13_a_mount_that_is_not_granted_means_upload(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("POST .*", lambda request: Answer(status) if "mount" in request.query else None)

    assert not store.mount(blob(b"x"), "team/other")

    assert read(store, push(store, b"x")) == b"x"
    assert len(server.lines("POST .*")) == 2


def test_a_mount_of_something_else_is_not_believed(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.answer("POST .*", lambda _: Answer(201, headers={"Docker-Content-Digest": "sha256:" + "0" * 64}))

    assert not store.mount(blob(b"x"), "team/other")


def test_a_mount_moves_no_bytes(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    registry = connect(server.host, ADA)
    desc = push(registry.repository("a"), b"x" * 1000)
    server.requests.clear()

    assert registry.repository("b").mount(desc, "a")
    assert server.received_bytes() == 0
    scopes = [request.query["scope"] for request in server.requests if request.path == "/token"]
    assert "repository:a:pull" in scopes  # the simulated registry keeps the last of several


def test_the_session_that_a_registry_opens_in_place_of_a_mount_is_used(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.without_mount = True
    desc = blob(b"x")
    assert not store.exists(desc)

    assert not store.mount(desc, "team/other")
    push(store, b"x")

    assert [line.split()[0] for line in server.lines()] == ["HEAD", "POST", "PUT", "HEAD"]
    assert server.uploads == {}


def test_a_blob_that_an_earlier_run_sent_is_not_sent_to_another_repository(
    run: Run, server: SimulatedRegistry, layout: Layout
) -> None:
    manifest = push_manifest(layout, LAYER)
    run.pushed(server, layout, manifest.descriptor, "team/first")

    second = run.pushed(server, layout, manifest.descriptor, "team/second")

    assert server.received_bytes(".*/blobs/.*") == 0
    assert {query.get("from") for query in posts(server)} == {"team/first"}
    assert read(second, blob(LAYER)) == LAYER


def test_a_blob_that_an_earlier_run_fetched_is_not_sent_to_another_repository(
    run: Run, server: SimulatedRegistry, layout: Layout, connect: Connect
) -> None:
    manifest = push_manifest(connect(server.host).repository("team/first"), LAYER)
    registry, places = run.open(server)
    copy(registry.repository("team/first"), layout, manifest.descriptor)
    registry.close()
    places.close()

    run.pushed(server, layout, manifest.descriptor, "team/second")

    assert server.received_bytes(".*/blobs/.*") == 0


def test_two_repositories_are_asked_and_the_rest_is_sent(run: Run, server: SimulatedRegistry, layout: Layout) -> None:
    manifest = push_manifest(layout, LAYER)
    for number in range(4):
        run.pushed(server, layout, manifest.descriptor, f"r{number}")
        server.repository(f"r{number}").blobs.clear()

    last = run.pushed(server, layout, manifest.descriptor, "last")

    assert [query["from"] for query in posts(server) if query["mount"] == str(blob(LAYER).digest)] == ["r3", "r2"]
    assert server.received_bytes(".*/blobs/.*") == len(LAYER) + len(b"{}")
    assert server.uploads == {}
    assert read(last, blob(LAYER)) == LAYER


def test_a_registry_is_not_told_the_names_of_another_ones_repositories(
    run: Run, server: SimulatedRegistry, layout: Layout
) -> None:
    manifest = push_manifest(layout, LAYER)
    run.pushed(server, layout, manifest.descriptor, "team/private")

    with simulated_registry() as other:
        run.pushed(other, layout, manifest.descriptor, "team/public")

    assert all("private" not in f"{request.path} {request.query} {request.headers}" for request in other.requests)
    assert [query for query in posts(other) if query] == []


def test_a_token_server_that_denies_the_other_repository_means_upload(
    run: Run, server: SimulatedRegistry, layout: Layout, connect: Connect
) -> None:
    run.pushed(server, layout, push_manifest(layout, LAYER).descriptor, "team/private")
    server.requests.clear()
    server.auth = "bearer"
    server.answer("GET /token", lambda request: Answer(403) if "private" in request.query["scope"] else None)
    registry, _ = run.open(server, ADA)

    store = registry.repository("team/other")
    assert not store.mount(blob(LAYER))
    assert read(store, push(store, LAYER)) == LAYER
