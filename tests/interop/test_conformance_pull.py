"""What a client can see of a registry that it pulls from, claim by claim from the distribution specification 1.1."""

from __future__ import annotations

import json

import pytest
from tests.interop.conftest import BLOB, code_of
from tests.server.conftest import Client, digest_of

from mlkit.spec.media_types import OCI_MANIFEST


def test_the_api_is_there(client: Client) -> None:
    assert client.http.get("/v2/").status_code == 200


@pytest.mark.parametrize(
    ("asked", "expected"), [("bytes=0-9", BLOB[:10]), ("bytes=399990-", BLOB[-10:])], ids=["first", "last"]
)
def test_a_range_of_a_blob_is_served(client: Client, repository: str, asked: str, expected: bytes) -> None:
    digest = client.push_blob(BLOB, repository)

    answer = client.http.get(f"/v2/{repository}/blobs/{digest}", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == expected


def test_a_range_behind_the_end_is_416(client: Client, repository: str) -> None:
    digest = client.push_blob(BLOB, repository)

    answer = client.http.get(f"/v2/{repository}/blobs/{digest}", headers={"Range": "bytes=400000-"})

    assert answer.status_code == 416


def test_a_blob_that_is_not_there_is_unknown(client: Client, repository: str) -> None:
    client.push_blob(BLOB, repository)

    answer = client.http.get(f"/v2/{repository}/blobs/{digest_of(b'none')}")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "BLOB_UNKNOWN"
    assert client.http.head(f"/v2/{repository}/blobs/{digest_of(b'none')}").status_code == 404


def test_a_manifest_is_pushed_and_pulled(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository)

    answer = client.push_manifest(value, "1.2", repository)

    digest = digest_of(json.dumps(value).encode())
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/v2/{repository}/manifests/{digest}")
    for reference in ("1.2", digest):
        pulled = client.http.get(f"/v2/{repository}/manifests/{reference}", headers={"Accept": OCI_MANIFEST})
        assert pulled.json() == value
        assert pulled.headers["Content-Type"] == OCI_MANIFEST
        assert pulled.headers["Docker-Content-Digest"] == digest


def test_a_manifest_that_is_not_there_is_unknown(client: Client, repository: str) -> None:
    answer = client.http.get(f"/v2/{repository}/manifests/none")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_a_range_is_named_with_the_whole(client: Client, repository: str) -> None:
    digest = client.push_blob(BLOB, repository)

    answer = client.http.get(f"/v2/{repository}/blobs/{digest}", headers={"Range": "bytes=1000-1999"})

    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(BLOB)}"
    assert answer.headers["Content-Length"] == "1000"
    assert answer.content == BLOB[1000:2000]


def test_a_blob_is_looked_at_without_its_bytes(client: Client, repository: str) -> None:
    digest = client.push_blob(BLOB, repository)

    answer = client.http.head(f"/v2/{repository}/blobs/{digest}")

    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(BLOB))
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.content == b""


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_is_looked_at_without_its_bytes(client: Client, repository: str, by: str) -> None:
    digest = client.push_kit("1.2", repository)
    reference = "1.2" if by == "tag" else digest
    whole = client.http.get(f"/v2/{repository}/manifests/{reference}", headers={"Accept": OCI_MANIFEST})

    answer = client.http.head(f"/v2/{repository}/manifests/{reference}", headers={"Accept": OCI_MANIFEST})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == OCI_MANIFEST
    assert answer.headers["Content-Length"] == str(len(whole.content))
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_of_a_digest_that_is_not_there_is_unknown(client: Client, repository: str, method: str) -> None:
    client.push_kit("1.2", repository)

    answer = client.http.request(method, f"/v2/{repository}/manifests/{digest_of(b'none')}")

    assert answer.status_code == 404
    assert method == "HEAD" or code_of(answer) == "MANIFEST_UNKNOWN"


def test_nothing_comes_from_a_repository_that_is_not_there(client: Client, repository: str) -> None:
    for path in ("manifests/1.2", f"blobs/{digest_of(b'none')}"):
        answer = client.http.get(f"/v2/{repository}/none/{path}")

        assert answer.status_code == 404
        assert code_of(answer) in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN")


def test_a_blob_is_asked_for_by_a_digest(client: Client, repository: str) -> None:
    client.push_blob(BLOB, repository)

    assert client.http.get(f"/v2/{repository}/blobs/sha256:abc").status_code in (400, 404)
