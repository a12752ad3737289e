"""Large blobs over several connections, into a store and into files: one way to fetch, so the same faults are survived.

Whatever the server does, there is the right blob in the end, or an error and nothing.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.packing.test_unpack import (
    DATA,
    Interrupting,
    interrupts_are_heard,
    kit_of,
    small_disk,
)
from tests.support.kits import Layer
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.far import FarContent
from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.pace import Connections
from mlkit.errors import DigestMismatch, MlkitError, NotFoundError, SizeMismatch, StoreError
from mlkit.packing.kit import Kit
from mlkit.packing.unpack import unpack
from mlkit.progress import NoProgress
from mlkit.registry.store import RegistryStore

__all__ = ["interrupts_are_heard", "small_disk"]  # fixtures

MIB = 1 << 20
SIZE = 12 * MIB
CONTENT = os.urandom(SIZE)
GET = "GET .*/blobs/.*"

Setup = Callable[[SimulatedRegistry], None]


def several(most: int = 4) -> Connections:
    """Connections for small blobs, all at once."""
    return Connections(most, is_measured=False, least_size=MIB, segment=MIB, spare=threading.Semaphore(most - 1))


@pytest.fixture(scope="module")
def kit() -> Kit:
    return kit_of(MemoryStore(), Layer("datasets[0]", {"data/big": CONTENT}))


@pytest.fixture
def blob_at(server: SimulatedRegistry, kit: Kit) -> str:
    """The digest of the kit's one layer, which the registry has."""
    digest = str(kit.layers[0].desc.digest)
    server.repository("team/digits").blobs[digest] = CONTENT
    return digest


def into_a_store(kit: Kit, store: RegistryStore, place: Path) -> bytes:
    desc = kit.layers[0].desc
    layout = Layout.create(place / "store")
    try:
        layout.push(desc, FarContent(store, desc, several()))
    except MlkitError:
        assert not layout.exists(desc)
        raise
    return layout.blobs.path(desc.digest).read_bytes()


def into_files(kit: Kit, store: RegistryStore, place: Path) -> bytes:
    try:
        unpack(kit, store, place / "out", connections=several())
    except MlkitError:
        assert list(place.iterdir()) == []
        raise
    assert (place / "out/Kitfile").read_text() == DATA
    return (place / "out/data/big").read_bytes()


WAYS = pytest.mark.parametrize("fetch", [into_a_store, into_files])


def part(request: Request) -> tuple[int, int] | None:
    """What a request asks for, None for everything."""
    found = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", request.headers.get("range", ""))
    return None if found is None else (int(found[1]), int(found[2] or SIZE - 1) + 1)


def ranges(make: Callable[[int, int], Answer | None], *, times: int | None = None) -> Setup:
    """A server that answers requests for parts with what `make` gives for the first byte and the one after the last."""

    def setup(server: SimulatedRegistry) -> None:
        def answer(request: Request) -> Answer | None:
            asked = part(request)
            return None if asked is None else make(*asked)

        server.answer(GET, answer, times=times)

    return setup


def told(start: int, end: int, size: int = SIZE) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{end - 1}/{size}"}


def without_ranges(server: SimulatedRegistry) -> None:
    server.without_ranges = True


def resets(server: SimulatedRegistry) -> None:
    server.truncate_after = [3 * MIB, MIB, 0, MIB // 2, 1, MIB]


def another_version(start: int, end: int) -> Answer:
    """The file behind the address was replaced after the first request."""
    return Answer(206, bytes(end - start), told(start, end) | {"ETag": '"2"'})


SURVIVED: dict[str, Setup] = {
    "nothing": lambda _: None,
    "ranges are ignored": without_ranges,
    "another range": ranges(lambda start, end: Answer(206, CONTENT[: end - start], told(0, end - start))),
    "a range without its place": ranges(lambda start, end: Answer(206, CONTENT[start:end])),
    "a range of another size, once": ranges(
        lambda start, end: Answer(206, CONTENT[start:end], told(start, end, SIZE + 1)), times=1
    ),
    "416, once": ranges(lambda _, __: Answer(416), times=1),
    "500, a few times": ranges(lambda _, __: Answer(500), times=3),
    "resets": resets,
    "a range that ends early, once": ranges(
        lambda start, end: Answer(206, CONTENT[start : end - 5], told(start, end)), times=1
    ),
    "other bytes, once": ranges(another_version, times=1),
}


@WAYS
@pytest.mark.parametrize("fault", SURVIVED)
def test_what_a_server_does_to_ranges_is_survived(
    fault: str,
    fetch: Callable[[Kit, RegistryStore, Path], bytes],
    server: SimulatedRegistry,
    store: RegistryStore,
    kit: Kit,
    blob_at: str,
    tmp_path: Path,
) -> None:
    SURVIVED[fault](server)

    assert fetch(kit, store, tmp_path) == CONTENT

    assert any(part(request) for request in server.requests), f"nobody asked for a part of {blob_at}"


def replaced(content: bytes) -> Setup:
    """A server whose blob is another."""

    def setup(server: SimulatedRegistry) -> None:
        blobs = server.repository("team/digits").blobs
        blobs.update(dict.fromkeys(blobs, content))

    return setup


REFUSED: dict[str, tuple[Setup, type[MlkitError]]] = {
    "other bytes at the end": (replaced(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])), DigestMismatch),
    "other bytes at the start": (replaced(bytes([CONTENT[0] ^ 1]) + CONTENT[1:]), DigestMismatch),
    "another version": (ranges(another_version), DigestMismatch),
    "too short": (replaced(CONTENT[:-1]), SizeMismatch),
    "too long": (replaced(CONTENT + b"x"), SizeMismatch),
    "gone": (lambda server: server.repository("team/digits").blobs.clear(), NotFoundError),
}


@WAYS
@pytest.mark.parametrize("fault", REFUSED)
def test_content_that_is_not_the_promised_one_is_refused_and_nothing_of_it_stays(
    fault: str,
    fetch: Callable[[Kit, RegistryStore, Path], bytes],
    server: SimulatedRegistry,
    store: RegistryStore,
    kit: Kit,
    blob_at: str,
    tmp_path: Path,
) -> None:
    setup, error = REFUSED[fault]
    setup(server)

    with pytest.raises(error):
        fetch(kit, store, tmp_path)

    assert server.lines(f".*{blob_at}")


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    yield
    ours = ("mlkit-range", "mlkit-hash")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(ours)]


@pytest.mark.usefixtures("no_thread_stays", "blob_at", "interrupts_are_heard")
def test_ctrl_c_with_several_connections_open_leaves_nothing(store: RegistryStore, kit: Kit, tmp_path: Path) -> None:
    class Later(Interrupting):
        """Not before several connections have brought something."""

        def __init__(self) -> None:
            super().__init__()
            self.threads: set[str] = set()

        def advance(self, key: str, count: int) -> None:
            self.threads.add(threading.current_thread().name)
            if len(self.threads) > 2:
                super().advance(key, count)

    listener = Later()

    with pytest.raises(KeyboardInterrupt):
        unpack(kit, store, tmp_path / "out", progress=listener, connections=several())

    assert len(listener.threads) > 2
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("no_thread_stays", "blob_at", "small_disk")
def test_a_disk_that_fails_under_several_connections_leaves_nothing(
    store: RegistryStore, kit: Kit, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="data/big"):
        unpack(kit, store, tmp_path / "out", connections=several())

    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("blob_at")
def test_progress_counts_every_byte_once_whoever_brings_it(store: RegistryStore, kit: Kit, tmp_path: Path) -> None:
    class Listener(NoProgress):
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.bytes = 0

        def advance(self, key: str, count: int) -> None:
            with self.lock:
                self.bytes += count

    listener = Listener()

    unpack(kit, store, tmp_path / "out", progress=listener, connections=several())

    assert listener.bytes == SIZE
