"""The shared contract of stores against a real registry: Debian's docker-registry."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest
from tests.content.contract import StorageContract, blob, push_blob, push_manifest, read
from tests.support.docker_registry import docker_registry

from mlkit.content.storage import BytesContent
from mlkit.content.uploads import Uploads
from mlkit.errors import NetworkError, NotFoundError
from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.memory import Memory
from mlkit.registry.store import RegistryStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_numbers = itertools.count()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with (
        docker_registry(tmp_path_factory.mktemp("docker-registry")) as host,
        Registry(Connection(host, plain_http=True), lambda _: None) as registry,
    ):
        yield registry


@pytest.fixture
def store(registry: Registry) -> RegistryStore:
    return registry.repository(f"team/kit{next(_numbers)}")


class TestDockerRegistry(StorageContract):
    """A registry without the referrers API, which removes no tag alone."""

    def test_every_tag_is_listed(self, store: RegistryStore) -> None:
        manifest = push_manifest(store, b"layer")
        for tag in ("v1", "v2", "latest"):
            store.tag(manifest.descriptor, tag)

        assert sorted(store.tags()) == ["latest", "v1", "v2"]

    def test_a_repository_that_is_not_there_has_no_list_of_tags(self, store: RegistryStore) -> None:
        with pytest.raises(NotFoundError, match=store.name):
            list(store.tags())

    def test_a_deleted_manifest_is_gone_with_its_tags(self, store: RegistryStore) -> None:
        manifest = push_manifest(store, b"layer")
        store.tag(manifest.descriptor, "v1")

        store.delete(manifest.descriptor)

        assert not store.exists(manifest.descriptor)
        with pytest.raises(NotFoundError):
            store.resolve("v1")

    def test_a_tag_that_cannot_be_removed_alone_stays(self, store: RegistryStore) -> None:
        manifest = push_manifest(store, b"layer")
        store.tag(manifest.descriptor, "v1")

        with pytest.raises(NetworkError, match="alone"):
            store.untag("v1")

        assert store.resolve("v1").digest == manifest.descriptor.digest

    def test_a_blob_is_mounted_from_a_neighbour(self, registry: Registry, store: RegistryStore) -> None:
        desc = push_blob(store, b"from next door")
        neighbour = registry.repository("team/neighbour")

        assert neighbour.mount(desc, store.name.partition("/")[2])
        assert read(neighbour, desc) == b"from next door"

    def test_a_mount_of_what_is_not_there_is_refused(self, registry: Registry, store: RegistryStore) -> None:
        assert not registry.repository("team/neighbour").mount(blob(b"never pushed"), "team/kit0")

    def test_a_blob_goes_up_in_chunks(self, store: RegistryStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", 1 << 20)
        monkeypatch.setattr("mlkit.registry.upload.CHUNK", 1 << 20)
        content = os.urandom((5 << 20) + 17)

        store.push(blob(content), BytesContent(content))

        assert read(store, blob(content)) == content

    @pytest.mark.parametrize(("stops_after", "goes_on_at"), [(2 << 20, 2 << 20), ((2 << 20) + 70_000, 0)],
                             ids=["between chunks", "inside a chunk"])  # fmt: skip
    def test_an_interrupted_upload_goes_on_between_chunks_and_starts_over_inside_one(
        self,
        stops_after: int,
        goes_on_at: int,
        store: RegistryStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", 1 << 20)
        monkeypatch.setattr("mlkit.registry.upload.CHUNK", 1 << 20)
        monkeypatch.setattr("mlkit.registry.source._BLOCK", 10_000)
        content = os.urandom(4 << 20)
        host, _, repository = store.name.partition("/")
        log: list[str] = []

        class Stops(BytesContent):
            def open(self, *, offset: int = 0) -> BinaryIO:
                return _Stopping(self.data, stops_after)

        def push(pushed: BytesContent) -> None:
            memory = Memory(uploads=Uploads(tmp_path))
            connection = Connection(host, plain_http=True)
            with Registry(connection, lambda _: None, memory=memory, log=log.append) as registry:
                registry.repository(repository).push(blob(content), pushed)

        with pytest.raises(InterruptedError):
            push(Stops(content))
        log.clear()
        push(BytesContent(content))

        assert read(store, blob(content)) == content
        patches = [line for line in log if line.startswith("PATCH")]
        assert len(patches) == (len(content) - goes_on_at) >> 20

    def test_a_missing_layer_is_named_when_the_manifest_is_refused(self, store: RegistryStore, tmp_path: Path) -> None:
        manifest = push_manifest(store, b"layer")
        store.delete(manifest.layers[0])

        with pytest.raises(NetworkError, match="MANIFEST_BLOB_UNKNOWN"):
            store.tag(manifest.descriptor, "v1")

    def test_it_lets_us_in(self, registry: Registry) -> None:
        registry.check()


class _Stopping(io.BytesIO):
    """Content that somebody stops being read."""

    def __init__(self, content: bytes, after: int) -> None:
        super().__init__(content)
        self._after = after

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = super().readinto(buffer)
        if self.tell() > self._after:
            raise InterruptedError
        return count
