from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.server.conftest import Client, codes, connect, digest_of

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

BLOB = os.urandom(3_000_000)


def stored(layout: Layout) -> list[str]:
    return sorted(path.name for path in (layout.root / "blobs").rglob("*") if path.is_file())


def pull(client: Client, digest: str) -> bytes:
    return client.http.get(f"/v2/team/digits/blobs/{digest}").content


def test_a_session_opens_empty(client: Client) -> None:
    answer = client.start()

    assert answer.status_code == 202
    assert answer.headers["Location"].startswith("/v2/team/digits/blobs/uploads/")
    assert answer.headers["Range"] == "0-0"


def test_a_blob_in_one_post(client: Client) -> None:
    digest = digest_of(BLOB)

    answer = client.http.post("/v2/team/digits/blobs/uploads/", params={"digest": digest}, content=BLOB)

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/team/digits/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert pull(client, digest) == BLOB


def test_a_blob_in_post_and_put(client: Client) -> None:
    digest = client.push_blob(BLOB)

    assert pull(client, digest) == BLOB


def test_a_blob_in_one_stream_of_unknown_length(client: Client) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(BLOB), 100_000):
            yield BLOB[start : start + 100_000]

    location = client.start().headers["Location"]

    patched = client.http.patch(location, content=pieces())
    finished = client.http.put(patched.headers["Location"], params={"digest": digest_of(BLOB)})

    assert patched.status_code == 202
    assert patched.headers["Range"] == f"0-{len(BLOB) - 1}"
    assert finished.status_code == 201
    assert pull(client, digest_of(BLOB)) == BLOB


@pytest.mark.parametrize("last_in_put", [False, True])
def test_a_blob_in_chunks(client: Client, last_in_put: bool) -> None:
    location = client.start().headers["Location"]
    bounds = [(0, 1_000_000), (1_000_000, 2_500_000), (2_500_000, 3_000_000)]
    last = bounds.pop() if last_in_put else None

    for start, end in bounds:
        answer = client.http.patch(location, content=BLOB[start:end], headers={"Content-Range": f"{start}-{end - 1}"})
        assert answer.status_code == 202
        assert answer.headers["Range"] == f"0-{end - 1}"
        location = answer.headers["Location"]
    final = client.http.put(
        location,
        params={"digest": digest_of(BLOB)},
        content=BLOB[last[0] : last[1]] if last else b"",
        headers={"Content-Range": f"{last[0]}-{last[1] - 1}"} if last else {},
    )

    assert final.status_code == 201
    assert pull(client, digest_of(BLOB)) == BLOB


@pytest.mark.parametrize("content_range", ["500-599", "0-99", "101-200"])
def test_a_chunk_out_of_order_is_416_and_says_where_to_go_on(client: Client, content_range: str) -> None:
    location = client.start().headers["Location"]
    client.http.patch(location, content=BLOB[:100], headers={"Content-Range": "0-99"})

    answer = client.http.patch(location, content=BLOB[100:200], headers={"Content-Range": content_range})

    assert answer.status_code == 416
    assert codes(answer) == ["BLOB_UPLOAD_INVALID"]
    assert answer.headers["Range"] == "0-99"
    again = client.http.patch(answer.headers["Location"], content=BLOB[100:200], headers={"Content-Range": "100-199"})
    assert again.status_code == 202


@pytest.mark.parametrize(
    ("header", "code"), [("nonsense", "BLOB_UPLOAD_INVALID"), ("0-50", "SIZE_INVALID"), ("9-0", "BLOB_UPLOAD_INVALID")]
)
def test_a_content_range_that_does_not_fit_its_body_is_refused(client: Client, header: str, code: str) -> None:
    location = client.start().headers["Location"]

    answer = client.http.patch(location, content=BLOB[:100], headers={"Content-Range": header})

    assert answer.status_code == 400
    assert codes(answer) == [code]
    assert client.http.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize("sent", [50, 150])
def test_a_stream_that_breaks_its_content_range_is_refused(client: Client, sent: int) -> None:
    location = client.start().headers["Location"]

    answer = client.http.patch(location, content=iter([BLOB[:sent]]), headers={"Content-Range": "0-99"})

    assert answer.status_code == 400
    assert codes(answer) == ["SIZE_INVALID"]


def test_the_state_of_an_upload_can_be_asked_for(client: Client) -> None:
    location = client.start().headers["Location"]
    client.http.patch(location, content=BLOB[:1234])

    answer = client.http.get(location)

    assert answer.status_code == 204
    assert answer.headers["Range"] == "0-1233"
    assert answer.headers["Location"] == location


def test_a_cancelled_upload_is_gone(client: Client, layout: Layout) -> None:
    location = client.start().headers["Location"]
    client.http.patch(location, content=BLOB)

    answer = client.http.delete(location)

    assert answer.status_code == 204
    for gone in (client.http.get(location), client.http.patch(location, content=b"x"), client.http.delete(location)):
        assert gone.status_code == 404
    assert stored(layout) == []


def test_a_session_belongs_to_its_repository(client: Client) -> None:
    location = client.start("team/digits").headers["Location"]

    answer = client.http.get(location.replace("team/digits", "team/other"))

    assert answer.status_code == 404
    assert codes(answer) == ["BLOB_UPLOAD_UNKNOWN"]


def test_bytes_that_break_the_promise_leave_the_store_unchanged(client: Client, layout: Layout) -> None:
    location = client.start().headers["Location"]

    answer = client.http.put(location, params={"digest": digest_of(b"something else")}, content=BLOB)

    assert answer.status_code == 400
    assert codes(answer) == ["DIGEST_INVALID"]
    assert stored(layout) == []
    assert client.http.get(location).status_code == 404


def test_a_broken_promise_in_one_post_leaves_the_store_unchanged(client: Client, layout: Layout) -> None:
    answer = client.http.post(
        "/v2/team/digits/blobs/uploads/", params={"digest": digest_of(b"something else")}, content=BLOB
    )

    assert answer.status_code == 400
    assert codes(answer) == ["DIGEST_INVALID"]
    assert stored(layout) == []


def test_an_upload_cannot_end_without_a_digest(client: Client) -> None:
    location = client.start().headers["Location"]

    for query in ({}, {"digest": "sha256:short"}, {"digest": "sha999:" + "0" * 64}):
        answer = client.http.put(location, params=query, content=BLOB)

        assert answer.status_code == 400
        assert codes(answer) == ["DIGEST_INVALID"]
    assert client.http.get(location).headers["Range"] == "0-0"


def test_a_blob_can_be_pushed_under_its_sha512(client: Client) -> None:
    digest = digest_of(BLOB, "sha512")

    answer = client.http.post("/v2/team/digits/blobs/uploads/", params={"digest": digest}, content=BLOB)
    wrong = client.http.post(
        "/v2/team/digits/blobs/uploads/", params={"digest": digest_of(b"else", "sha512")}, content=BLOB
    )

    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    assert pull(client, digest) == BLOB
    assert codes(wrong) == ["DIGEST_INVALID"]


def test_a_blob_that_is_here_is_mounted(client: Client) -> None:
    digest = client.push_blob(BLOB, "team/source")

    answer = client.start("team/target", mount=digest, **{"from": "team/source"})

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/team/target/blobs/{digest}"


def test_a_mount_of_what_is_not_here_opens_a_session(client: Client) -> None:
    answer = client.start("team/target", mount=digest_of(b"never pushed"), **{"from": "team/source"})

    assert answer.status_code == 202
    assert client.http.get(answer.headers["Location"]).status_code == 204


def test_the_same_blob_pushed_twice_is_stored_once(client: Client, layout: Layout) -> None:
    client.push_blob(BLOB)
    client.push_blob(BLOB)

    assert stored(layout) == [digest_of(BLOB).removeprefix("sha256:")]


def test_an_upload_that_is_cut_off_goes_on_where_it_stopped(registry: RunningRegistry, client: Client) -> None:
    location = client.start().headers["Location"]
    host, port = registry.host.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nContent-Length: {len(BLOB)}\r\n\r\n".encode()
            + BLOB[:2_000_000]
        )
    received = wait_for_bytes(client, location)

    answer = client.http.put(location, params={"digest": digest_of(BLOB)}, content=BLOB[received:])

    assert 0 < received <= 2_000_000
    assert answer.status_code == 201
    assert pull(client, digest_of(BLOB)) == BLOB


def wait_for_bytes(client: Client, location: str) -> int:
    """How much has arrived, once the server has seen the end of the connection."""
    seen = -1
    for _ in range(100):
        time.sleep(0.05)
        now = int(client.http.get(location).headers["Range"].removeprefix("0-"))
        if now == seen and now > 0:
            return now + 1
        seen = now
    raise AssertionError("nothing arrived")


def test_a_client_that_comes_back_takes_the_upload_over_from_its_dead_connection(
    registry: RunningRegistry, client: Client
) -> None:
    location = client.start().headers["Location"]
    host, port = registry.host.split(":")
    with socket.create_connection((host, int(port))) as stale:
        stale.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nContent-Length: {len(BLOB)}\r\n\r\n".encode()
        )
        time.sleep(0.2)

        patched = client.http.patch(location, content=BLOB[:10], headers={"Content-Range": "0-9"})
        stale.sendall(b"x" * len(BLOB))
        answer = stale.recv(4096)
        finished = client.http.put(location, params={"digest": digest_of(BLOB[:10])})

    assert patched.status_code == 202
    assert b" 409 " in answer.splitlines()[0]
    assert finished.status_code == 201


SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
from mlkit.content.layout import Layout
from mlkit.server import serve

# RLIMIT_FSIZE makes write() fail as a full disk does.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
layout = Layout.at(Path(sys.argv[1]))
serve(layout, host="127.0.0.1", port=0, read_only=False, on_ready=lambda url: print(url, flush=True))
"""


def test_a_full_disk_is_507_and_leaves_the_store_unchanged(layout: Layout) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SMALL_DISK, str(layout.root)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        with connect(server.stdout.readline().strip()) as http:
            client = Client(http)
            location = client.start().headers["Location"]

            answer = http.put(location, params={"digest": digest_of(BLOB)}, content=BLOB)

            small = client.push_blob(b"weights")
            assert answer.status_code == 507
            assert codes(answer) == ["UNKNOWN"]
            assert str(layout.root) not in answer.text
            assert stored(layout) == [small.removeprefix("sha256:")]
            assert http.get(location).status_code == 404
        server.terminate()


def test_a_refused_upload_still_gets_its_answer(registry: RunningRegistry) -> None:
    connection = http.client.HTTPConnection(registry.host)
    connection.request("PATCH", "/v2/team/digits/blobs/uploads/none", body=BLOB * 5)

    answer = connection.getresponse()

    assert answer.status == 404
    assert b"BLOB_UPLOAD_UNKNOWN" in answer.read()
    connection.close()
