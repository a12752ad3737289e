from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
import pytest
from tests.server.conftest import Client, codes, connect, digest_of

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


@pytest.fixture
def reader(layout: Layout) -> Iterator[httpx.Client]:
    """A client of a read-only registry over the same layout."""
    with (
        RunningRegistry(layout, read_only=True) as running,
        connect(running.url) as http,
    ):
        yield http


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/team/digits/blobs/uploads/"),
        ("PATCH", "/v2/team/digits/blobs/uploads/x"),
        ("PUT", "/v2/team/digits/manifests/1.2"),
        ("DELETE", "/v2/team/digits/manifests/1.2"),
        ("DELETE", f"/v2/team/digits/blobs/{digest_of(b'weights')}"),
        ("TRACE", "/v2/"),
    ],
)
def test_a_read_only_registry_denies_what_could_change_it(
    client: Client, reader: httpx.Client, method: str, path: str
) -> None:
    client.push_kit("1.2")

    answer = reader.request(method, path)

    assert answer.status_code == 405
    assert codes(answer) == ["DENIED"]
    assert reader.get("/v2/team/digits/manifests/1.2").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:5000", "[::1]:5000"])
def test_a_registry_on_loopback_answers_under_its_own_names(client: Client, host: str) -> None:
    assert client.http.get("/v2/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:5000", "localhost.", "", "[::1", "a@localhost.x"]
)
def test_a_registry_on_loopback_does_not_answer_under_a_rebound_name(client: Client, host: str) -> None:
    answer = client.http.get("/v2/", headers={"Host": host})

    assert answer.status_code == 421
    assert codes(answer) == ["DENIED"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_web_page_cannot_write(client: Client, origin: str) -> None:
    answer = client.http.post(
        "/v2/team/digits/blobs/uploads/",
        params={"digest": digest_of(b"x")},
        content=b"x",
        headers={"Origin": origin, "Content-Type": "text/plain"},
    )

    assert answer.status_code == 403
    assert codes(answer) == ["DENIED"]
    assert client.http.head(f"/v2/team/digits/blobs/{digest_of(b'x')}").status_code == 404


def test_a_header_without_end_is_refused(client: Client) -> None:
    # The server closes while the client still sends, which can cost the client the answer.
    with contextlib.suppress(httpx.TransportError):
        assert client.http.get("/v2/", headers={"X-Long": "x" * 1_000_000}).status_code == 400

    assert client.http.get("/v2/").status_code == 200
