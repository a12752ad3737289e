"""What a client can see of a registry that it pushes to, claim by claim from the distribution specification 1.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.interop.conftest import BLOB, SUBJECT, code_of
from tests.server.conftest import Client, descriptor, digest_of, index

from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST

NOBODYS = "11111111-2222-3333-4444-555555555555"
"""An upload session that was never opened."""


def push_index_of_one(client: Client, repository: str) -> tuple[dict[str, Any], httpx.Response]:
    value = client.manifest(repository=repository)
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, child["digest"], repository)
    return child, client.push_manifest(index(child), "all", repository, media_type=OCI_INDEX)


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


def test_the_answer_to_a_referrer_names_its_subject(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository, subject=SUBJECT)

    answer = client.push_manifest(value, "signature", repository)

    assert answer.headers.get("OCI-Subject") == SUBJECT["digest"]


def test_the_last_chunk_may_come_with_the_end(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    location = client.http.patch(location, content=BLOB[:300_000], headers={"Content-Range": "0-299999"}).headers[
        "Location"
    ]

    answer = client.http.put(
        httpx.URL(location).copy_merge_params({"digest": digest_of(BLOB)}),
        content=BLOB[300_000:],
        headers={"Content-Range": "300000-399999"},
    )

    assert answer.status_code == 201
    assert client.http.get(f"/v2/{repository}/blobs/{digest_of(BLOB)}").content == BLOB


def test_a_blob_of_unknown_length_is_streamed(client: Client, repository: str) -> None:
    def blocks() -> Iterator[bytes]:
        for start in range(0, len(BLOB), 70_000):
            yield BLOB[start : start + 70_000]

    location = client.start(repository).headers["Location"]

    answer = client.http.patch(location, content=blocks())

    assert answer.status_code == 202
    assert answer.headers["Range"] == f"0-{len(BLOB) - 1}"
    assert client.finish(answer.headers["Location"], digest_of(BLOB)).status_code == 201


def test_an_upload_goes_on_where_its_state_says(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    location = client.http.patch(location, content=BLOB[:1000], headers={"Content-Range": "0-999"}).headers["Location"]

    state = client.http.get(location)
    end = int(state.headers["Range"].partition("-")[2]) + 1
    rest = client.http.patch(
        state.headers.get("Location", location),
        content=BLOB[end:],
        headers={"Content-Range": f"{end}-{len(BLOB) - 1}"},
    )

    assert rest.status_code == 202
    assert client.finish(rest.headers["Location"], digest_of(BLOB)).status_code == 201


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_an_upload_that_nobody_opened_is_unknown(client: Client, repository: str, method: str) -> None:
    client.push_blob(BLOB, repository)

    answer = client.http.request(
        method,
        f"/v2/{repository}/blobs/uploads/{NOBODYS}",
        params={"digest": digest_of(BLOB)} if method == "PUT" else {},
        content=b"x" if method in ("PATCH", "PUT") else None,
    )

    assert answer.status_code == 404
    # The CNCF's registries miss their own signed state in the address before they look for the session.
    assert code_of(answer) in ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")


def test_an_upload_that_is_done_is_gone(client: Client, repository: str) -> None:
    location = client.start(repository).headers["Location"]
    client.finish(location, digest_of(BLOB), BLOB)

    assert client.http.get(location).status_code == 404


@pytest.mark.parametrize("digest", ["", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"])
def test_a_digest_that_is_none_is_refused(client: Client, repository: str, digest: str) -> None:
    location = client.start(repository).headers["Location"]

    answer = client.finish(location, digest, BLOB)

    assert answer.status_code == 400
    assert code_of(answer) == "DIGEST_INVALID"


def test_a_blob_may_be_empty(client: Client, repository: str) -> None:
    digest = client.push_blob(b"", repository)

    answer = client.http.get(f"/v2/{repository}/blobs/{digest}")

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["Content-Length"] == "0"


def test_a_blob_comes_twice_and_is_there_once(client: Client, repository: str) -> None:
    assert client.push_blob(BLOB, repository) == client.push_blob(BLOB, repository)

    assert client.http.get(f"/v2/{repository}/blobs/{digest_of(BLOB)}").content == BLOB


def test_a_mount_from_nowhere_mounts_or_opens_a_session(client: Client, repository: str) -> None:
    digest = client.push_blob(BLOB, f"{repository}/source")

    answer = client.start(f"{repository}/target", mount=digest)

    assert answer.status_code in (201, 202)
    assert "Location" in answer.headers


def test_a_session_that_a_mount_opened_takes_the_blob(client: Client, repository: str) -> None:
    opened = client.start(repository, mount=digest_of(BLOB + b"2"), **{"from": f"{repository}/none"})

    assert opened.status_code == 202
    assert client.finish(opened.headers["Location"], digest_of(BLOB + b"2"), BLOB + b"2").status_code == 201


def test_a_manifest_is_pushed_by_its_digest(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository)
    digest = digest_of(json.dumps(value).encode())

    answer = client.push_manifest(value, digest, repository)

    assert answer.status_code == 201
    assert client.http.get(f"/v2/{repository}/manifests/{digest}", headers={"Accept": OCI_MANIFEST}).json() == value


def test_a_manifest_of_another_digest_is_refused(client: Client, repository: str) -> None:
    answer = client.push_manifest(client.manifest(repository=repository), digest_of(b"else"), repository)

    assert answer.status_code == 400
    assert code_of(answer) in ("DIGEST_INVALID", "MANIFEST_INVALID")


def test_a_manifest_that_is_not_json_is_refused(client: Client, repository: str) -> None:
    client.push_blob(BLOB, repository)

    answer = client.http.put(
        f"/v2/{repository}/manifests/1.2", content=b"no manifest", headers={"Content-Type": OCI_MANIFEST}
    )

    assert answer.status_code == 400
    assert code_of(answer) == "MANIFEST_INVALID"


def test_a_manifest_of_nearly_4_mib_is_taken(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository, annotations={"text": "x" * (4_000_000)})

    assert client.push_manifest(value, "large", repository).status_code == 201


def test_a_tag_goes_to_the_manifest_that_came_last(client: Client, repository: str) -> None:
    first = client.push_kit("1.2", repository, text="first")
    second = client.push_kit("1.2", repository, text="second")

    answer = client.http.head(f"/v2/{repository}/manifests/1.2", headers={"Accept": OCI_MANIFEST})

    assert first != second
    assert answer.headers["Docker-Content-Digest"] == second
    assert client.http.head(f"/v2/{repository}/manifests/{first}", headers={"Accept": OCI_MANIFEST}).status_code == 200


def test_a_manifest_may_come_before_its_subject(client: Client, repository: str) -> None:
    value = client.manifest(repository=repository, subject=SUBJECT)

    assert client.push_manifest(value, "signature", repository).status_code == 201


def test_a_name_outside_the_grammar_is_refused(client: Client) -> None:
    assert client.start("Team/Digits").status_code in (400, 404)
