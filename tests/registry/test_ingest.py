"""Content that is sent while it is hashed, against registries that lose, refuse and want other chunks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.content.contract import blob, read
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.storage import BytesContent
from mlkit.errors import (
    LimitError,
    NetworkError,
    UsageError,
)
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

MIB = 1 << 20


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hashed on the way goes in chunks of 1 MiB."""
    monkeypatch.setattr("mlkit.registry.ingest._CHUNK", MIB)


def push(store: RegistryStore, content: bytes) -> Descriptor:
    desc = blob(content)
    store.push(desc, BytesContent(content))
    return desc


def ingest(store: RegistryStore, content: bytes) -> Descriptor:
    with store.ingest() as writer:
        writer.write(content)
        digest, size = writer.commit()
    return Descriptor(OCTET_STREAM, digest, size)


def ranges(server: SimulatedRegistry) -> list[str]:
    return [request.headers["content-range"] for request in server.requests if request.method == "PATCH"]


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 7])
def test_content_of_unknown_digest_arrives_whole(size: int, server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(size)

    desc = ingest(store, content)

    assert desc == blob(content)
    assert read(store, desc) == content
    assert server.uploads == {}


def test_content_that_the_registry_has_already_is_not_sent(server: SimulatedRegistry, store: RegistryStore) -> None:
    push(store, b"there already")
    server.requests.clear()

    ingest(store, b"there already")

    assert server.received_bytes() == 0


@pytest.mark.usefixtures("small_buffers")
def test_a_failure_while_hashing_is_mended_from_the_buffer(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(4 * MIB)

    def swallow_half(request: Request) -> Answer | None:
        (upload,) = server.uploads.values()
        if len(upload) != MIB:
            return None
        upload += request.body[: MIB // 2]
        return Answer(503)

    server.answer("PATCH .*", swallow_half)
    server.fail_times(500, 1, on="PUT .*")

    assert read(store, ingest(store, content)) == content


@pytest.mark.usefixtures("small_buffers")
def test_an_upload_that_got_lost_while_hashing_cannot_be_saved(server: SimulatedRegistry, store: RegistryStore) -> None:
    def lose(request: Request) -> Answer:
        server.uploads.clear()
        return Answer(404)

    server.answer("PATCH .*", lose)

    with pytest.raises(NetworkError, match="lost the upload"):
        ingest(store, os.urandom(4 * MIB))

    assert server.repository("team/digits").blobs == {}


@pytest.mark.usefixtures("small_buffers")
def test_what_is_not_committed_is_taken_back(server: SimulatedRegistry, store: RegistryStore) -> None:
    with store.ingest() as writer:
        writer.write(bytes(3 * MIB))

    assert server.uploads == {}
    assert len(server.lines("DELETE .*")) == 1


@pytest.mark.usefixtures("small_buffers")
def test_buffers_grow_to_the_chunks_that_the_registry_wants(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.least_chunk = 3 * MIB
    content = os.urandom(7 * MIB)

    assert read(store, ingest(store, content)) == content
    assert ranges(server) == ["0-3145727", "3145728-6291455", "6291456-7340031"]

    server.least_chunk = 1 << 30
    with pytest.raises(LimitError, match="per chunk"):
        ingest(store, os.urandom(4 * MIB))


@pytest.mark.usefixtures("small_buffers")
def test_a_file_is_taken_from_where_it_stands(store: RegistryStore, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    path = tmp_path / "file"
    path.write_bytes(content)

    with path.open("rb") as source, store.ingest() as writer:
        source.seek(5)
        writer.copy_from(source, 2 * MIB)
        digest, size = writer.commit()
        assert source.read(1) == content[2 * MIB + 5 : 2 * MIB + 6]

    assert (digest, size) == (Digest.of(content[5 : 2 * MIB + 5]), 2 * MIB)


@pytest.mark.usefixtures("small_buffers")
def test_a_registry_that_refuses_chunks_is_remembered_as_one_that_takes_blobs_only_whole(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.no_chunked = True

    with pytest.raises(UsageError, match="only whole"):
        ingest(store, os.urandom(2 * MIB))
    assert server.uploads == {}
    with pytest.raises(UsageError, match="only whole"):
        store.ingest()
    assert len(server.lines("PATCH .*")) == 1
