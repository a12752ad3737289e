"""Downloads that break, and registries that resume them rightly, wrongly or not at all."""

from __future__ import annotations

import os

import pytest
from tests.content.contract import blob, push_blob, read
from tests.registry.conftest import ADA, Connect
from tests.support.raw_server import raw_server
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.storage import RangesRefused
from mlkit.errors import DigestMismatch, IntegrityError, MlkitError, NetworkError, NotFoundError, SizeMismatch
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor

GET = "GET .*/blobs/.*"


def test_a_broken_download_goes_on_where_it_broke(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(3_000_000)
    desc = push_blob(store, content)
    server.truncate_after = [1_000_000, 0, 500_000]

    assert read(store, desc) == content

    assert [request.headers.get("range") for request in server.requests if request.method == "GET"] == [
        None,
        "bytes=1000000-",
        "bytes=1000000-",
        "bytes=1500000-",
    ]
    assert server.sent_bytes(GET) <= 1.1 * len(content)


def test_many_breaks_are_survived_while_there_is_progress(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(20 * 1_100_000)
    desc = push_blob(store, content)
    server.truncate_after = [1_100_000] * 19

    assert read(store, desc) == content


def test_breaks_without_progress_come_to_an_end(
    server: SimulatedRegistry, store: RegistryStore, waits: list[float]
) -> None:
    desc = push_blob(store, bytes(1000))
    server.truncate_after = [10] * 100

    with pytest.raises(NetworkError, match="early"):
        read(store, desc)

    assert len(server.lines(GET)) == 5
    assert waits == [0.125, 0.25, 0.5, 1.0]


def test_a_server_without_ranges_is_read_from_the_start_again(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(2_000_000)
    desc = push_blob(store, content)
    server.without_ranges = True
    server.truncate_after = [1_500_000, 100]

    assert read(store, desc) == content
    assert read(store, desc, offset=700_000) == content[700_000:]


def test_a_token_that_expires_between_two_parts_is_renewed(server: SimulatedRegistry, connect: Connect) -> None:
    server.auth = "bearer"
    store = connect(server.host, ADA).repository("a")
    content = os.urandom(2_000_000)
    desc = push_blob(store, content)
    server.truncate_after = [1_000_000]

    with store.open(desc) as stream:
        first = stream.read(100_000)
        server.expire_token()
        rest = stream.read()

    assert first + rest == content


@pytest.mark.parametrize(
    ("headers", "body_from"),
    [
        ({"Content-Range": "bytes 0-999/1000"}, 0),
        ({"Content-Range": "bytes 501-999/1000"}, 501),
        ({"Content-Range": "bytes 500-999"}, 500),
        ({"Content-Range": "500-999/1000"}, 500),
        ({}, 500),
        ({"Content-Type": "multipart/byteranges; boundary=x"}, 500),
    ],
    ids=["whole", "later", "no-total", "no-unit", "none", "multipart"],
)
def test_f09_a_part_that_is_not_the_one_that_was_asked_for_is_not_used(
    headers: dict[str, str], body_from: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(1000)
    desc = push_blob(store, content)
    server.truncate_after = [500]

    def wrong_part(request: Request) -> Answer | None:
        return Answer(206, content[body_from:], headers) if "range" in request.headers else None

    server.answer(GET, wrong_part)

    assert read(store, desc) == content
    assert "range" not in server.requests[-1].headers


def test_a_part_of_something_of_another_size_is_refused(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, bytes(1000))
    server.truncate_after = [500]
    other = Answer(206, bytes(500), {"Content-Range": "bytes 500-999/2000"})
    server.answer(GET, lambda request: other if "range" in request.headers else None)

    with pytest.raises(SizeMismatch, match="2000"):
        read(store, desc)


def test_a_part_of_other_content_is_found_out_at_the_end(server: SimulatedRegistry, store: RegistryStore) -> None:
    content = os.urandom(1000)
    desc = push_blob(store, content)
    server.truncate_after = [500]
    other = Answer(206, bytes(500), {"Content-Range": "bytes 500-999/1000"})
    server.answer(GET, lambda request: other if "range" in request.headers else None)

    with pytest.raises(DigestMismatch):
        read(store, desc)


def test_content_that_ends_early_is_asked_for_again_and_then_refused(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    desc = push_blob(store, b"0123456789")
    longer = Descriptor(desc.media_type, desc.digest, 20)

    with pytest.raises(SizeMismatch, match="10 bytes"):
        read(store, longer)

    assert len(server.lines(GET)) == 2


def test_content_without_end_is_not_read_to_its_end(store: RegistryStore) -> None:
    desc = push_blob(store, b"0123456789" * 100_000)
    shorter = Descriptor(desc.media_type, desc.digest, 500_000)

    with pytest.raises(SizeMismatch, match="more than"):
        read(store, shorter)


def test_a_part_where_all_was_asked_for_is_refused(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, bytes(10))
    server.answer(GET, lambda _: Answer(206, bytes(10), {"Content-Range": "bytes 0-9/10"}))

    with pytest.raises(IntegrityError, match="a part"):
        read(store, desc)


@pytest.mark.parametrize("without_ranges", [False, True], ids=["ranges", "no-ranges"])
def test_a_part_is_asked_for_with_its_end(
    without_ranges: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(1_000_000)
    desc = push_blob(store, content)
    server.without_ranges = without_ranges
    server.truncate_after = [300_000]

    with store.open_range(desc, offset=100_000, length=500_000) as stream:
        found = stream.read()
        more = stream.read(10)

    assert (found, more) == (content[100_000:600_000], b"")
    if not without_ranges:
        assert server.sent_bytes(GET) == 500_000


def test_nothing_is_asked_for_beyond_the_end(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, bytes(10))

    assert read(store, desc, offset=10) == b""
    assert server.lines(GET) == []


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_refusal_is_raised_when_the_stream_is_opened(
    status: int, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.fail_times(status, 100, on=GET)

    with pytest.raises(MlkitError, match=store.name):
        store.open(blob(b"x"))


def test_a_blob_that_was_promised_and_is_not_there(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = push_blob(store, b"here and gone")
    server.repository("team/digits").blobs.clear()
    server.answer("HEAD .*", lambda _: Answer(200))

    assert store.exists(desc)
    with pytest.raises(NotFoundError):
        store.open(desc)


def test_a_download_without_a_length_is_read_and_resumed(connect: Connect) -> None:
    content = b"hello, world"
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    rest = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-11/12\r\n\r\n"

    with raw_server([head + content[:5], b""], [rest + content[5:], b""]) as server:
        found = read(connect(server.host).repository("a"), blob(content))

    assert found == content
    assert b"Range: bytes=5-\r\n" in server.requests[1]


def test_closing_a_stream_early_leaves_the_registry_usable(store: RegistryStore) -> None:
    content = os.urandom(5_000_000)
    desc = push_blob(store, content)

    for _ in range(3):
        with store.open(desc) as stream:
            assert stream.read(10) == content[:10]

    assert read(store, desc) == content


def test_an_exact_range_is_refused_by_a_server_that_gives_blobs_only_whole(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(1_000_000)
    desc = push_blob(store, content)

    with store.open_range(desc, offset=500_000, length=1000, is_exact=True) as stream:
        assert stream.read(2000) == content[500_000:501_000]
    server.without_ranges = True

    with pytest.raises(RangesRefused, match="only whole"):
        store.open_range(desc, offset=500_000, length=1000, is_exact=True)
    with store.open_range(desc, offset=500_000, length=1000) as stream:
        assert stream.read(2000) == content[500_000:501_000]


def test_a_server_without_ranges_that_breaks_off_in_what_was_read_before_is_asked_once_more(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    content = os.urandom(2_000_000)
    desc = push_blob(store, content)
    server.without_ranges = True
    server.truncate_after = [1_500_000, 1000, 0]

    assert read(store, desc) == content

    server.truncate_after = [1_500_000, *[1000] * 20]
    with pytest.raises(NetworkError):
        read(store, desc)
