"""Content of unknown digest that can be read again, sent in chunks: a registry gets it whole, or not at all."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest
from tests.content.contract import blob, read
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.storage import BytesContent, OnlyWhole
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch
from mlkit.registry.store import RegistryStore

MIB = 1 << 20
SIZES = [0, 2, MIB - 1, MIB, 3 * MIB + 7]


@dataclass
class Readable:
    """Content, each time as the next of the versions has it; the last one from then on."""

    versions: list[bytes]
    opened: list[int] = field(default_factory=list)

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        self.opened.append(offset)
        raw = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        return io.BytesIO(raw[offset:])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", MIB)


def lose_a_chunk(server: SimulatedRegistry) -> None:
    """The second chunk is answered with an error, and is not kept."""
    seen: list[str] = []

    def rule(request: Request) -> Answer | None:
        seen.append(request.line)
        return Answer(503, b"", {}) if len(seen) == 2 else None

    server.answer("PATCH .*", rule)


@pytest.mark.parametrize("size", SIZES)
def test_the_digest_is_found_on_the_way(size: int, server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(size)
    readable = Readable([content])

    digest = store.take(readable, size)

    assert digest == blob(content).digest
    assert read(store, blob(content)) == content
    assert readable.opened == [0]
    assert server.uploads == {}


def test_a_chunk_that_got_lost_is_read_again_from_the_start(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(3 * MIB)
    readable = Readable([content])
    lose_a_chunk(server)

    store.take(readable, len(content))

    assert read(store, blob(content)) == content
    assert readable.opened == [0, 0]


def test_content_that_changed_meanwhile_is_never_a_blob(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(3 * MIB)
    readable = Readable([content, b"!" + content[1:]])
    lose_a_chunk(server)

    with pytest.raises(DigestMismatch, match="not what it was"):
        store.take(readable, len(content))

    assert not server.repositories


@pytest.mark.parametrize("difference", [-1, 1])
def test_content_of_another_size_is_never_a_blob(
    difference: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(2 * MIB)

    with pytest.raises(SizeMismatch):
        store.take(Readable([content]), len(content) - difference)

    assert not server.repositories


def test_a_registry_that_takes_blobs_only_whole_says_so_and_is_remembered(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.no_chunked = True
    for _ in range(2):
        with pytest.raises(OnlyWhole):
            store.take(Readable([b"x" * 10]), 10)

    assert len(server.lines("PATCH .*")) == 1


def test_a_registry_that_lost_what_it_took_is_found_out(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.answer("HEAD .*/blobs/.*", lambda _: Answer(404))

    with pytest.raises(IntegrityError, match="took it and does not have it"):
        store.take(BytesContent(b"content"), 7)
    with store.ingest() as writer:
        writer.write(b"content")
        with pytest.raises(IntegrityError, match="took it and does not have it"):
            writer.commit()
