from __future__ import annotations

import pytest
from tests.server.conftest import Client, codes, descriptor, digest_of

from mlkit.content.layout import Layout
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST

SUBJECT = descriptor(b"some kit", OCI_MANIFEST)
REFERRERS = f"/v2/team/digits/referrers/{SUBJECT['digest']}"


def pages(client: Client, url: str, field: str) -> list[list[object]]:
    """What each page holds, following the links."""
    found = []
    while url:
        answer = client.http.get(url)
        assert answer.status_code == 200
        found.append(answer.json()[field])
        url = answer.links.get("next", {}).get("url", "")
    return found


def test_tags_are_listed_in_order(client: Client) -> None:
    for tag in ("b", "10", "a", "9"):
        client.push_kit(tag)
    client.push_kit("elsewhere", "team/other")

    answer = client.http.get("/v2/team/digits/tags/list")

    assert answer.json() == {"name": "team/digits", "tags": ["10", "9", "a", "b"]}
    assert "Link" not in answer.headers


@pytest.mark.parametrize(("n", "expected"), [(2, [["a", "b"], ["c", "d"], ["e"]]), (5, [["a", "b", "c", "d", "e"]])])
def test_tags_come_in_pages(client: Client, n: int, expected: list[list[str]]) -> None:
    for tag in "abcde":
        client.push_kit(tag)

    assert pages(client, f"/v2/team/digits/tags/list?n={n}", "tags") == expected


def test_the_list_goes_on_after_a_tag_that_is_not_there(client: Client) -> None:
    for tag in "ace":
        client.push_kit(tag)

    assert client.http.get("/v2/team/digits/tags/list?last=b&n=1").json()["tags"] == ["c"]
    assert client.http.get("/v2/team/digits/tags/list?last=z").json()["tags"] == []


def test_a_page_of_no_tags_is_empty_and_leads_nowhere(client: Client) -> None:
    client.push_kit("a")

    answer = client.http.get("/v2/team/digits/tags/list?n=0")

    assert answer.json()["tags"] == []
    assert "Link" not in answer.headers


@pytest.mark.parametrize("n", ["-1", "x", "", "1e3", "9" * 10, "٣"])
def test_a_page_size_that_is_no_number_is_refused(client: Client, n: str) -> None:
    client.push_kit("a")

    answer = client.http.get("/v2/team/digits/tags/list", params={"n": n})

    assert answer.status_code == 400
    assert codes(answer) == ["UNSUPPORTED"]


def test_the_tags_of_an_unknown_repository_are_404(client: Client) -> None:
    answer = client.http.get("/v2/team/none/tags/list")

    assert answer.status_code == 404
    assert codes(answer) == ["NAME_UNKNOWN"]


def test_the_catalog_lists_repositories_without_those_of_other_hosts(client: Client, layout: Layout) -> None:
    digest = client.push_kit("1.2")
    client.push_kit("1.2", "alpha")
    desc = next(desc for desc in layout.manifests() if str(desc.digest) == digest)
    layout.tag(desc, "registry.example/team/secret:1.2")

    assert pages(client, "/v2/_catalog", "repositories") == [["alpha", "team/digits"]]
    assert pages(client, "/v2/_catalog?n=1", "repositories") == [["alpha"], ["team/digits"]]
    assert client.http.get("/v2/registry.example/team/secret/tags/list").status_code == 400


def test_nothing_refers_to_an_unknown_subject(client: Client) -> None:
    answer = client.http.get(REFERRERS)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def test_referrers_are_listed_with_their_artifact_type_and_annotations(client: Client) -> None:
    signature = client.push_kit(
        "",
        subject=SUBJECT,
        artifactType="application/vnd.example.signature",
        annotations={"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    )
    plain = client.push_kit("tagged", subject=SUBJECT)
    client.push_kit("other", subject=descriptor(b"another kit", OCI_MANIFEST))

    found = {desc["digest"]: desc for desc in client.http.get(REFERRERS).json()["manifests"]}

    assert set(found) == {signature, plain}
    assert found[signature]["artifactType"] == "application/vnd.example.signature"
    assert found[signature]["annotations"] == {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"}
    assert found[signature]["mediaType"] == OCI_MANIFEST
    # Without an artifactType the media type of the config stands in.
    assert found[plain]["artifactType"] == "application/vnd.oci.empty.v1+json"


def test_referrers_are_filtered_by_type(client: Client) -> None:
    signature = client.push_kit("", subject=SUBJECT, artifactType="application/vnd.example.signature")
    client.push_kit("", subject=SUBJECT, artifactType="application/vnd.example.sbom")

    answer = client.http.get(REFERRERS, params={"artifactType": "application/vnd.example.signature"})

    assert [desc["digest"] for desc in answer.json()["manifests"]] == [signature]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert "OCI-Filters-Applied" not in client.http.get(REFERRERS).headers


def test_referrers_come_in_pages_that_keep_the_filter(client: Client) -> None:
    kind = "application/vnd.example.a+b"
    pushed = {client.push_kit("", subject=SUBJECT, artifactType=kind, text=f"referrer {n}") for n in range(3)}
    client.push_kit("", subject=SUBJECT, artifactType="application/vnd.example.other")

    found = pages(client, f"{REFERRERS}?artifactType=application/vnd.example.a%2Bb&n=2", "manifests")

    assert [len(page) for page in found] == [2, 1]
    assert {desc["digest"] for page in found for desc in page if isinstance(desc, dict)} == pushed


def test_a_deleted_referrer_is_no_longer_listed(client: Client) -> None:
    digest = client.push_kit("", subject=SUBJECT)

    client.http.delete(f"/v2/team/digits/manifests/{digest}")

    assert client.http.get(REFERRERS).json()["manifests"] == []


def test_a_subject_that_is_no_digest_is_refused(client: Client) -> None:
    answer = client.http.get("/v2/team/digits/referrers/sha256:short")

    assert answer.status_code == 400
    assert codes(answer) == ["DIGEST_INVALID"]


def test_a_partial_kit_is_listed_and_its_absent_layers_are_unknown(client: Client, layout: Layout) -> None:
    digest = client.push_kit("1.2")
    desc = next(desc for desc in layout.manifests() if str(desc.digest) == digest)
    layer = digest_of(b"weights")
    layout.tag(desc.with_annotations({"dev.mlkit.partial": "true"}), "team/partial:1.2")
    layout.delete_blob(Descriptor.parse(descriptor(b"weights", "text/plain")).digest)

    assert client.http.get("/v2/team/partial/tags/list").json()["tags"] == ["1.2"]
    assert client.http.get(f"/v2/team/partial/blobs/{layer}").status_code == 404
