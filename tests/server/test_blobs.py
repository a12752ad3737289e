from __future__ import annotations

import http.client
import os
from pathlib import Path

import pytest
from tests.server.conftest import Client, codes, digest_of

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry

BLOB = bytes(range(256)) * 20_000  # 5 MB: several pieces


def blob_file(layout: Layout, digest: str) -> Path:
    return layout.root / "blobs" / Path(*digest.split(":"))


def test_the_protocol_is_announced(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = client.http.get(path)

        assert answer.status_code == 200
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_a_blob_comes_back_as_it_was_pushed(client: Client) -> None:
    digest = client.push_blob(BLOB)

    head = client.http.head(f"/v2/team/digits/blobs/{digest}")
    answer = client.http.get(f"/v2/team/digits/blobs/{digest}")

    assert head.status_code == answer.status_code == 200
    assert head.headers["Content-Length"] == answer.headers["Content-Length"] == str(len(BLOB))
    assert head.headers["Docker-Content-Digest"] == digest
    assert head.content == b""
    assert answer.content == BLOB


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=0-99", BLOB[:100]), ("bytes=4999990-", BLOB[4_999_990:]), ("bytes=-7", BLOB[-7:]), ("bytes=1-", BLOB[1:])],
)
def test_a_range_of_a_blob_is_partial_content(client: Client, header: str, expected: bytes) -> None:
    digest = client.push_blob(BLOB)

    answer = client.http.get(f"/v2/team/digits/blobs/{digest}", headers={"Range": header})

    assert answer.status_code == 206
    assert answer.content == expected
    start = len(BLOB) - len(expected) if not header.startswith("bytes=0") else 0
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{len(BLOB)}"


def test_a_range_beyond_the_end_is_416_with_the_size(client: Client) -> None:
    digest = client.push_blob(b"weights")

    answer = client.http.get(f"/v2/team/digits/blobs/{digest}", headers={"Range": "bytes=7-"})

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */7"


def test_the_size_of_a_blob_is_that_of_the_whole_whatever_range_is_asked_for(client: Client) -> None:
    digest = client.push_blob(b"weights")

    answer = client.http.head(f"/v2/team/digits/blobs/{digest}", headers={"Range": "bytes=1-"})

    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == "7"


def test_a_range_on_condition_of_another_blob_gives_the_whole(client: Client) -> None:
    digest = client.push_blob(b"weights")

    answer = client.http.get(
        f"/v2/team/digits/blobs/{digest}", headers={"Range": "bytes=1-", "If-Range": '"sha256:else"'}
    )

    assert answer.status_code == 200
    assert answer.content == b"weights"


def test_a_blob_that_the_client_has_is_not_sent_again(client: Client) -> None:
    digest = client.push_blob(b"weights")

    answer = client.http.get(f"/v2/team/digits/blobs/{digest}", headers={"If-None-Match": f'"{digest}"'})

    assert answer.status_code == 304


def test_the_empty_blob_can_be_pushed_and_pulled(client: Client) -> None:
    digest = client.push_blob(b"")

    answer = client.http.get(f"/v2/team/digits/blobs/{digest}")

    assert answer.status_code == 200
    assert answer.content == b""


def test_a_blob_that_is_not_there_is_unknown(client: Client) -> None:
    answer = client.http.get(f"/v2/team/digits/blobs/{digest_of(b'never pushed')}")

    assert answer.status_code == 404
    assert codes(answer) == ["BLOB_UNKNOWN"]


@pytest.mark.parametrize("digest", ["sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:..%2f..%2fetc"])
def test_a_digest_that_is_none_is_refused_before_any_path_is_built(client: Client, digest: str) -> None:
    answer = client.http.get(f"/v2/team/digits/blobs/{digest}")

    assert answer.status_code in (400, 404)
    assert codes(answer)[0] in ("DIGEST_INVALID", "NAME_INVALID", "UNSUPPORTED")


@pytest.mark.parametrize("damage", ["first byte", "last byte", "one byte short"])
def test_a_damaged_blob_is_cut_off_before_its_last_byte(
    registry: RunningRegistry, client: Client, layout: Layout, damage: str
) -> None:
    digest = client.push_blob(BLOB)
    damaged = bytearray(BLOB)
    damaged[0 if damage == "first byte" else -1] ^= 1
    file = blob_file(layout, digest)
    file.chmod(0o644)
    file.write_bytes(bytes(damaged))
    connection = http.client.HTTPConnection(registry.host)
    connection.request("GET", f"/v2/team/digits/blobs/{digest}")
    answer = connection.getresponse()
    if damage == "one byte short":
        os.truncate(file, len(BLOB) - 1)

    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()

    connection.close()
    assert len(cut.value.partial) < len(BLOB)
    assert client.http.get("/v2/").status_code == 200


def test_a_client_that_goes_away_leaves_the_server_well(registry: RunningRegistry, client: Client) -> None:
    digest = client.push_blob(BLOB * 4)

    for _ in range(5):
        connection = http.client.HTTPConnection(registry.host)
        connection.request("GET", f"/v2/team/digits/blobs/{digest}")
        connection.getresponse().read(1000)
        connection.close()

    assert client.http.get(f"/v2/team/digits/blobs/{digest}").content == BLOB * 4


def test_a_blob_that_nothing_needs_can_be_deleted_once(client: Client) -> None:
    digest = client.push_blob(b"weights")

    answer = client.http.delete(f"/v2/team/digits/blobs/{digest}")
    again = client.http.delete(f"/v2/team/digits/blobs/{digest}")

    assert answer.status_code == 202
    assert again.status_code == 404
    assert client.http.head(f"/v2/team/digits/blobs/{digest}").status_code == 404


def test_a_blob_of_a_manifest_that_is_here_stays(client: Client) -> None:
    kit = client.push_kit("1.2")
    layer = digest_of(b"weights")

    for digest in (layer, kit):
        answer = client.http.delete(f"/v2/team/digits/blobs/{digest}")

        assert answer.status_code == 405
        assert codes(answer) == ["UNSUPPORTED"]
    assert client.http.get(f"/v2/team/digits/blobs/{layer}").content == b"weights"
