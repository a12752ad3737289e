"""Mirrors: asked first, never believed, and never told a secret of the registry's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.contract import blob, push_blob, push_manifest, read
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer

from mlkit.content.layout import Layout
from mlkit.content.storage import StoredContent, open_part
from mlkit.errors import AuthError, IntegrityError, MlkitError, NetworkError, NotFoundError
from mlkit.registry.mirrors import MirroredStore
from mlkit.registry.store import RegistryStore
from mlkit.spec.manifest import Manifest

LARGE = bytes(range(256)) * 16 * 1024  # 4 MiB
SMALL = b"a small document"


@pytest.fixture
def mirror() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as mirror:
        yield mirror


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def origin(server: SimulatedRegistry, connect: Connect) -> RegistryStore:
    return connect(server.host).repository("team/digits")


@pytest.fixture
def mirrored(
    origin: RegistryStore, mirror: SimulatedRegistry, connect: Connect, told: list[str]
) -> tuple[MirroredStore, Manifest]:
    """A kit in both, and a store that asks the mirror first; the log of the registry starts after it."""
    copy = connect(mirror.host, namespace="registry.example").repository("cache/team/digits")
    for store in (origin, copy):
        manifest = push_manifest(store, SMALL)
        push_blob(store, LARGE)
        store.tag(manifest.descriptor, "v1")
    return MirroredStore(origin, [copy], warn=told.append), manifest


def _forget(*servers: SimulatedRegistry) -> None:
    for server in servers:
        server.requests.clear()


def test_content_comes_from_the_mirror_and_tags_from_the_registry(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry, mirror: SimulatedRegistry
) -> None:
    store, manifest = mirrored
    _forget(server, mirror)

    desc = store.resolve("v1")
    assert [request.path for request in server.requests] == ["/v2/team/digits/manifests/v1"]
    assert store.resolve(str(manifest.descriptor.digest)) == manifest.descriptor == desc
    assert store.raw(desc) == manifest.raw
    assert read(store, manifest.layers[0]) == SMALL
    assert read(store, blob(LARGE)) == LARGE
    with store.open_range(blob(LARGE), offset=1000, length=500) as part:
        assert part.read() == LARGE[1000:1500]
    assert store.exists(blob(LARGE))

    assert len(server.requests) == 1
    assert {request.query.get("ns") for request in mirror.requests} == {"registry.example"}
    assert {request.path.split("/")[2] for request in mirror.requests} == {"cache"}


def test_a_mirror_that_lacks_something_is_asked_for_the_next_thing(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry, mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, manifest = mirrored
    del mirror.repository("cache/team/digits").blobs[str(blob(LARGE).digest)]
    _forget(server, mirror)

    assert read(store, blob(LARGE)) == LARGE
    assert read(store, manifest.layers[0]) == SMALL

    assert [request.path.rpartition("/")[2] for request in server.requests] == [str(blob(LARGE).digest)]
    assert told == []


@pytest.mark.parametrize("status", [401, 403, 500, 302])
def test_a_mirror_that_fails_is_left_alone_for_the_rest_of_the_run(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, told: list[str], status: int
) -> None:
    store, manifest = mirrored
    mirror.answer(".*", lambda _: Answer(status))

    assert read(store, blob(LARGE)) == LARGE
    _forget(mirror)
    assert read(store, manifest.layers[0]) == SMALL

    assert mirror.requests == []
    assert len(told) == 1
    assert told[0].startswith(f"a mirror of {store.name} is not asked any more: ")


def test_a_mirror_that_breaks_off_is_gone_on_from_at_the_registry(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry, mirror: SimulatedRegistry
) -> None:
    store, _ = mirrored
    mirror.truncate_after = [1_000_000, *[0] * 20]
    _forget(server)

    assert read(store, blob(LARGE)) == LARGE

    (request,) = [request for request in server.requests if request.method == "GET"]
    assert request.headers["range"] == f"bytes={3 * 256 * 1024}-"


def test_small_content_that_a_mirror_falsified_comes_from_the_registry_at_once(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, manifest = mirrored
    repository = mirror.repository("cache/team/digits")
    repository.blobs[str(manifest.layers[0].digest)] = SMALL[:-1] + b"!"

    assert read(store, manifest.layers[0]) == SMALL
    assert "the content is sha256:" in told[0]


def test_a_manifest_that_a_mirror_falsified_comes_from_the_registry(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, manifest = mirrored
    repository = mirror.repository("cache/team/digits")
    media_type, raw = repository.manifests[str(manifest.descriptor.digest)]
    repository.manifests[str(manifest.descriptor.digest)] = (media_type, raw.replace(b"layers", b"lawyer"))

    assert store.raw(manifest.descriptor) == manifest.raw
    assert store.resolve(str(manifest.descriptor.digest)) == manifest.descriptor
    assert len(told) == 1


def test_large_content_that_a_mirror_falsified_is_noticed_and_not_asked_for_there_again(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry
) -> None:
    store, _ = mirrored
    mirror.repository("cache/team/digits").blobs[str(blob(LARGE).digest)] = LARGE[:-1] + b"!"

    with pytest.raises(IntegrityError):
        read(store, blob(LARGE))
    assert read(store, blob(LARGE)) == LARGE


def test_a_resumed_download_that_was_falsified_starts_over_at_the_registry(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry
) -> None:
    store, _ = mirrored
    with open_part(store, blob(LARGE), offset=100, length=50) as part:
        part.read()
    _forget(server)

    assert read(store, blob(LARGE)) == LARGE
    assert [request.method for request in server.requests] == ["GET"]


def test_a_pull_through_a_falsifying_mirror_leaves_nothing_false_behind(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, tmp_path: Path
) -> None:
    store, _ = mirrored
    mirror.repository("cache/team/digits").blobs[str(blob(LARGE).digest)] = bytes(len(LARGE))
    layout = Layout.create(tmp_path / "store")

    for _ in range(2):
        try:
            layout.push(blob(LARGE), StoredContent(store, blob(LARGE)))
        except IntegrityError:
            assert not layout.exists(blob(LARGE))

    assert read(layout, blob(LARGE)) == LARGE


def test_a_mirror_that_gives_blobs_only_whole_is_no_failure(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, manifest = mirrored
    mirror.without_ranges = True

    with store.open_range(blob(LARGE), offset=1_000_000, length=500, is_exact=True) as part:
        assert part.read() == LARGE[1_000_000:1_000_500]
    mirror.requests.clear()
    assert read(store, manifest.layers[0]) == SMALL

    assert len(mirror.requests) == 1
    assert told == []


def test_what_nobody_has_is_told_in_the_registrys_words(mirrored: tuple[MirroredStore, Manifest]) -> None:
    store, _ = mirrored

    with pytest.raises(NotFoundError, match="team/digits@sha256:") as absent:
        store.open(blob(b"nobody has this"))
    assert "cache/team" not in absent.value.message
    with pytest.raises(NotFoundError, match='no tag "v2"'):
        store.resolve("v2")
    assert not store.exists(blob(b"nobody has this"))


def test_mirrors_that_are_believed_about_tags_do_without_the_registry(
    origin: RegistryStore, mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, connect: Connect
) -> None:
    _, manifest = mirrored
    dead = connect("127.0.0.1:1").repository("team/digits")
    copy = connect(mirror.host).repository("cache/team/digits")
    believing = MirroredStore(dead, [copy], have_tags=True, warn=pytest.fail)
    doubting = MirroredStore(dead, [copy], warn=pytest.fail)

    assert believing.resolve("v1") == manifest.descriptor
    assert list(believing.referrers(manifest.descriptor)) == []
    with pytest.raises(NetworkError, match="127"):
        doubting.resolve("v1")
    assert doubting.resolve(str(manifest.descriptor.digest)) == manifest.descriptor
    with pytest.raises(NetworkError, match="127"):
        list(doubting.referrers(manifest.descriptor))


def test_the_registrys_credentials_never_reach_a_mirror(
    server: SimulatedRegistry, mirror: SimulatedRegistry, connect: Connect
) -> None:
    server.auth = mirror.auth = "basic"
    origin = connect(server.host, ADA).repository("a")
    desc = push_blob(origin, LARGE)
    told: list[str] = []
    store = MirroredStore(origin, [connect(mirror.host).repository("a")], warn=told.append)

    assert read(store, desc) == LARGE

    assert mirror.requests
    assert all("authorization" not in request.headers for request in mirror.requests)
    assert len(told) == 1


def test_several_mirrors_are_asked_in_their_order(
    server: SimulatedRegistry, mirror: SimulatedRegistry, connect: Connect
) -> None:
    origin = connect(server.host).repository("a")
    desc = push_blob(origin, SMALL)
    with simulated_registry() as second:
        stores = [connect(host).repository("a") for host in (mirror.host, second.host)]
        push_blob(stores[1], SMALL)
        _forget(server, mirror, second)

        assert MirroredStore(origin, stores, warn=pytest.fail).raw(desc) == SMALL

        assert [len(asked.requests) for asked in (mirror, second, server)] == [1, 1, 0]


def test_nothing_can_be_written_to_a_mirror(mirrored: tuple[MirroredStore, Manifest]) -> None:
    store, _ = mirrored

    assert [name for name in ("push", "tag", "ingest", "mount", "delete", "untag") if hasattr(store, name)] == []


def test_a_stream_that_nobody_can_continue_ends_with_the_registrys_error(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry, mirror: SimulatedRegistry
) -> None:
    store, _ = mirrored
    mirror.truncate_after = [1000, *[0] * 20]
    server.answer("GET .*", lambda _: Answer(403))

    with pytest.raises(MlkitError, match=f"{server.host} denies access"), store.open(blob(LARGE)) as stream:
        io.BufferedReader(stream).read()  # type: ignore[type-var]


def test_a_mirror_that_ends_early_without_an_error_is_gone_on_from_at_the_registry(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry
) -> None:
    store, _ = mirrored
    mirror.answer("GET .*/blobs/.*", lambda _: Answer(200, LARGE[:1_000_000]))

    with store.open(blob(LARGE)) as stream:
        assert io.BufferedReader(stream).read() == LARGE  # type: ignore[type-var]  # as above


def test_a_mirror_that_fails_is_told_of_once_and_content_is_known_by_the_registry(
    mirrored: tuple[MirroredStore, Manifest], server: SimulatedRegistry, mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, manifest = mirrored
    mirror.answer(".*", lambda _: Answer(403))
    streams = [store.open_range(blob(LARGE), offset=offset, length=10) for offset in (0, 10)]

    assert store.exists(manifest.layers[0])
    assert store.exists(blob(LARGE))
    assert len(told) == 1
    server.answer("HEAD .*", lambda _: Answer(403))
    with pytest.raises(AuthError):
        store.exists(blob(LARGE))
    for stream in streams:
        stream.__enter__().close()


def test_two_streams_that_a_mirror_breaks_tell_of_it_once(
    mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, told: list[str]
) -> None:
    store, _ = mirrored
    mirror.truncate_after = [3, 3, *[0] * 40]

    with (
        store.open_range(blob(LARGE), offset=0, length=10) as one,
        store.open_range(blob(LARGE), offset=10, length=10) as two,
    ):
        read_of_both = [io.BufferedReader(part).read(10) for part in (one, two)]  # type: ignore[type-var]  # as above

    assert read_of_both == [LARGE[:10], LARGE[10:20]]
    assert len(told) == 1


def test_tags_are_listed_as_the_registry_has_them_and_found_where_they_are_believed(
    origin: RegistryStore, mirrored: tuple[MirroredStore, Manifest], mirror: SimulatedRegistry, connect: Connect
) -> None:
    store, manifest = mirrored
    copy = connect(mirror.host).repository("cache/team/digits")
    copy.tag(manifest.descriptor, "old")
    believing = MirroredStore(origin, [copy], have_tags=True, warn=pytest.fail)

    assert list(store.tags()) == list(believing.tags()) == ["v1"]
    assert store.find("v1") == believing.find("v1") == manifest.descriptor
    assert store.find("old") is None
    assert believing.find("old") == manifest.descriptor
