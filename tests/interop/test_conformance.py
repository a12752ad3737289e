"""What a client can see of a registry, claim by claim from the OCI distribution specification 1.1.

Every claim is tried against the embedded registry and against a real one. Where the real one differs, the claim is
listed below with the reason, and a test fails when it begins to agree: such differences are what mlkit's client must
live with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.server.conftest import Client, connect, descriptor, digest_of, index
from tests.support.docker_registry import docker_registry

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST

DIFFERENCES = {
    "test_a_chunk_that_leaves_a_gap_is_416": "takes it with 202: a client must compare the Range that comes back",
    "test_a_chunk_that_comes_twice_is_416": "appends it with 202: a client must compare the Range that comes back",
    "test_a_range_behind_the_end_is_416": "announces the length of the whole blob with its 416 and cuts the connection",
    "test_tags_come_in_pages": "knows neither n nor last, and gives all tags at once",
    "test_a_page_of_no_tags_is_empty": "knows no n, and gives all tags",
    "test_referrers_are_listed": "has no referrers API: the tag fallback is needed",
    "test_the_answer_to_a_referrer_names_its_subject": "has no referrers API",
    "test_a_tag_is_deleted_without_its_manifest": "deletes by digest only",
}
"""By the name of the claim: what docker-registry 2.8 does instead."""

BLOB = os.urandom(400_000)
SUBJECT = descriptor(b"some kit", OCI_MANIFEST)


@pytest.fixture(scope="module", params=["embedded", "docker-registry"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    if request.param == "embedded":
        with RunningRegistry(Layout.create(folder)) as running:
            yield running.url
    else:
        with docker_registry(folder) as host:
            yield f"http://{host}"


@pytest.fixture
def client(url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    name = request.node.originalname
    if "docker-registry" in request.node.callspec.params.values() and name in DIFFERENCES:
        request.applymarker(pytest.mark.xfail(reason=DIFFERENCES[name], strict=True))
    with connect(url) as http:
        yield Client(http)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own: the registries are shared."""
    return f"claims/{request.node.originalname.removeprefix('test_').replace('_', '-')[:60].rstrip('-')}"


def push_index_of_one(client: Client, repository: str) -> tuple[dict[str, Any], httpx.Response]:
    value = client.manifest(repository=repository)
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, child["digest"], repository)
    return child, client.push_manifest(index(child), "all", repository, media_type=OCI_INDEX)


def test_the_api_is_there(client: Client) -> None:
    assert client.http.get("/v2/").status_code == 200


def test_a_blob_is_pushed_by_post_and_put(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]

    answer = client.finish(location, digest_of(BLOB), BLOB)

    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/v2/{repository}/blobs/{digest_of(BLOB)}")
    assert client.http.get(answer.headers["Location"]).content == BLOB


def test_a_blob_is_pushed_by_one_post_or_a_session_is_opened(client: Client, repository: str) -> None:
    answer = client.http.post(f"/v2/{repository}/blobs/uploads/", params={"digest": digest_of(BLOB)}, content=BLOB)

    assert answer.status_code in (201, 202)
    if answer.status_code == 201:
        assert client.http.get(f"/v2/{repository}/blobs/{digest_of(BLOB)}").content == BLOB


def test_a_blob_is_pushed_in_chunks(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    for start in range(0, len(BLOB), 100_000):
        chunk = BLOB[start : start + 100_000]
        answer = client.http.patch(
            location,
            content=chunk,
            headers={"Content-Range": f"{start}-{start + 99_999}", "Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 202
        assert answer.headers["Range"] == f"0-{start + 99_999}"
        location = answer.headers["Location"]

    answer = client.finish(location, digest_of(BLOB))

    assert answer.status_code == 201
    assert client.http.get(f"/v2/{repository}/blobs/{digest_of(BLOB)}").content == BLOB


def test_the_state_of_an_upload_is_told(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    location = client.http.patch(location, content=BLOB).headers["Location"]

    answer = client.http.get(location)

    assert answer.status_code == 204
    assert answer.headers["Range"] == f"0-{len(BLOB) - 1}"


def test_a_chunk_that_leaves_a_gap_is_416(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]

    answer = client.http.patch(location, content=BLOB[:100], headers={"Content-Range": "1000-1099"})

    assert answer.status_code == 416


def test_a_chunk_that_comes_twice_is_416(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    location = client.http.patch(location, content=BLOB[:100], headers={"Content-Range": "0-99"}).headers["Location"]

    answer = client.http.patch(location, content=BLOB[:100], headers={"Content-Range": "0-99"})

    assert answer.status_code == 416


def test_an_upload_is_cancelled(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]

    answer = client.http.delete(location)

    assert answer.status_code == 204
    assert client.http.get(location).status_code == 404


def test_bytes_of_another_digest_are_refused(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]

    answer = client.finish(location, digest_of(b"else"), BLOB)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "DIGEST_INVALID"


def test_a_blob_is_mounted(client: Client, repository: str) -> None:
    digest = client.push_blob(BLOB, f"{repository}/source")

    answer = client.start(f"{repository}/target", mount=digest, **{"from": f"{repository}/source"})

    assert answer.status_code == 201
    assert client.http.get(f"/v2/{repository}/target/blobs/{digest}").content == BLOB


def test_a_mount_of_what_is_not_there_opens_a_session(client: Client, repository: str) -> None:
    answer = client.start(repository, mount=digest_of(b"none"), **{"from": f"{repository}/none"})

    assert answer.status_code == 202
    assert "Location" in answer.headers


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


def test_an_index_is_pushed_and_pulled(client: Client, repository: str) -> None:
    child, answer = push_index_of_one(client, repository)

    assert answer.status_code == 201
    pulled = client.http.get(f"/v2/{repository}/manifests/all", headers={"Accept": OCI_INDEX})
    assert pulled.json()["manifests"] == [child]


def test_a_manifest_without_its_blobs_is_refused(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository)
    value["layers"] = [descriptor(b"never pushed", "application/octet-stream")]

    answer = client.push_manifest(value, "1.2", repository)

    assert 400 <= answer.status_code < 500
    assert answer.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_a_manifest_that_is_not_there_is_unknown(client: Client, repository: str) -> None:
    answer = client.http.get(f"/v2/{repository}/manifests/none")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_tags_come_in_pages(client: Client, repository: str) -> None:
    for tag in ("a", "b", "c"):
        client.push_kit(tag, repository)

    first = client.http.get(f"/v2/{repository}/tags/list", params={"n": 2})
    rest = client.http.get(first.links["next"]["url"])

    assert first.json() == {"name": repository, "tags": ["a", "b"]}
    assert rest.json()["tags"] == ["c"]
    assert client.http.get(f"/v2/{repository}/tags/list", params={"last": "a"}).json()["tags"] == ["b", "c"]


def test_a_page_of_no_tags_is_empty(client: Client, repository: str) -> None:
    client.push_kit("a", repository)

    assert client.http.get(f"/v2/{repository}/tags/list", params={"n": 0}).json()["tags"] == []


def test_referrers_are_listed(client: Client, repository: str) -> None:
    kind = "application/vnd.example.signature"
    digest = client.push_kit("signature", repository, subject=SUBJECT, artifactType=kind)

    answer = client.http.get(f"/v2/{repository}/referrers/{SUBJECT['digest']}")

    assert answer.headers["Content-Type"] == OCI_INDEX
    assert [(one["digest"], one["artifactType"]) for one in answer.json()["manifests"]] == [(digest, kind)]


def test_the_answer_to_a_referrer_names_its_subject(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository, subject=SUBJECT)

    answer = client.push_manifest(value, "signature", repository)

    assert answer.headers.get("OCI-Subject") == SUBJECT["digest"]


def test_a_manifest_is_deleted_with_its_tags(client: Client, repository: str) -> None:
    digest = client.push_kit("1.2", repository, text=repository)

    answer = client.http.delete(f"/v2/{repository}/manifests/{digest}")

    assert answer.status_code == 202
    assert client.http.get(f"/v2/{repository}/manifests/{digest}").status_code == 404
    assert client.http.get(f"/v2/{repository}/manifests/1.2").status_code == 404


def test_a_tag_is_deleted_without_its_manifest(client: Client, repository: str) -> None:
    digest = client.push_kit("1.2", repository, text=repository)

    answer = client.http.delete(f"/v2/{repository}/manifests/1.2")

    assert answer.status_code == 202
    assert client.http.head(f"/v2/{repository}/manifests/1.2").status_code == 404
    assert client.http.head(f"/v2/{repository}/manifests/{digest}", headers={"Accept": OCI_MANIFEST}).status_code == 200


def test_a_blob_is_deleted(client: Client, repository: str) -> None:
    digest = client.push_blob(os.urandom(100), repository)

    answer = client.http.delete(f"/v2/{repository}/blobs/{digest}")

    assert answer.status_code == 202
    assert client.http.head(f"/v2/{repository}/blobs/{digest}").status_code == 404
