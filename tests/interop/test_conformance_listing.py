"""What a client can see of a registry's lists and deletions, claim by claim from the distribution specification 1.1."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from tests.interop.conftest import code_of
from tests.server.conftest import Client, descriptor, digest_of, index

from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST

SIGNATURE, REPORT = "application/vnd.example.signature", "application/vnd.example.report"


@pytest.fixture
def subject(repository: str) -> dict[str, Any]:
    """A kit of the test's own that nobody ever pushed."""
    return descriptor(repository.encode(), OCI_MANIFEST)


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


def test_referrers_are_listed(client: Client, repository: str, subject: dict[str, Any]) -> None:
    kind = "application/vnd.example.signature"
    digest = client.push_kit("signature", repository, subject=subject, artifactType=kind)

    answer = client.http.get(f"/v2/{repository}/referrers/{subject['digest']}")

    assert answer.headers["Content-Type"] == OCI_INDEX
    assert [(one["digest"], one["artifactType"]) for one in answer.json()["manifests"]] == [(digest, kind)]


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


def test_tags_of_a_repository_that_is_not_there_are_unknown(client: Client, repository: str) -> None:
    answer = client.http.get(f"/v2/{repository}/none/tags/list")

    assert answer.status_code == 404
    assert code_of(answer) == "NAME_UNKNOWN"


def test_tags_come_in_lexical_order(client: Client, repository: str) -> None:
    for tag in ("b", "10", "a", "B", "2"):
        client.push_kit(tag, repository)

    assert client.http.get(f"/v2/{repository}/tags/list").json()["tags"] == ["10", "2", "B", "a", "b"]


def test_a_manifest_without_referrers_has_an_empty_list(client: Client, repository: str) -> None:
    client.push_kit("1.2", repository)

    answer = client.http.get(f"/v2/{repository}/referrers/{digest_of(b'nobody refers to it')}")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert answer.json()["schemaVersion"] == 2
    assert answer.json()["mediaType"] == OCI_INDEX
    assert answer.json()["manifests"] == []


def test_referrers_are_filtered_or_not_and_the_answer_says_so(
    client: Client, repository: str, subject: dict[str, Any]
) -> None:
    for kind in (SIGNATURE, REPORT):
        client.push_kit(kind[-6:], repository, subject=subject, artifactType=kind)

    answer = client.http.get(f"/v2/{repository}/referrers/{subject['digest']}", params={"artifactType": REPORT})

    kinds = {one["artifactType"] for one in answer.json()["manifests"]}
    assert kinds == ({REPORT} if answer.headers.get("OCI-Filters-Applied") == "artifactType" else {SIGNATURE, REPORT})


def test_a_referrer_is_listed_with_its_annotations_and_the_type_of_its_config(
    client: Client, repository: str, subject: dict[str, Any]
) -> None:
    client.push_kit("report", repository, subject=subject, annotations={"org.example.by": "ada"})

    (entry,) = client.http.get(f"/v2/{repository}/referrers/{subject['digest']}").json()["manifests"]

    assert entry["mediaType"] == OCI_MANIFEST
    assert entry["artifactType"] == "application/vnd.oci.empty.v1+json"
    assert entry["annotations"] == {"org.example.by": "ada"}


def test_an_index_refers_too(client: Client, repository: str, subject: dict[str, Any]) -> None:
    value = client.manifest(repository=repository)
    child = descriptor(json.dumps(value).encode(), OCI_MANIFEST)
    client.push_manifest(value, child["digest"], repository)
    parent = {**index(child), "subject": subject, "artifactType": REPORT}
    client.push_manifest(parent, "report", repository, media_type=OCI_INDEX)

    (entry,) = client.http.get(f"/v2/{repository}/referrers/{subject['digest']}").json()["manifests"]

    assert (entry["mediaType"], entry["artifactType"]) == (OCI_INDEX, REPORT)


def test_a_referrer_that_is_deleted_is_listed_no_more(client: Client, repository: str, subject: dict[str, Any]) -> None:
    digest = client.push_kit("signature", repository, subject=subject, artifactType=SIGNATURE)
    before = client.http.get(f"/v2/{repository}/referrers/{subject['digest']}").json()["manifests"]

    client.http.delete(f"/v2/{repository}/manifests/{digest}")

    assert [one["digest"] for one in before] == [digest]
    assert client.http.get(f"/v2/{repository}/referrers/{subject['digest']}").json()["manifests"] == []


@pytest.mark.parametrize(
    ("path", "code"), [("manifests", "MANIFEST_UNKNOWN"), ("blobs", "BLOB_UNKNOWN")], ids=["manifest", "blob"]
)
def test_what_is_not_there_is_not_deleted(client: Client, repository: str, path: str, code: str) -> None:
    client.push_kit("1.2", repository)

    answer = client.http.delete(f"/v2/{repository}/{path}/{digest_of(b'none')}")

    assert answer.status_code == 404
    assert code_of(answer) == code
