"""A registry to make claims about, and where real ones are known to differ.

The claims are in `test_conformance_*`, after the categories of the OCI distribution specification 1.1. Every claim is
tried against the embedded registry and against real ones. Where a real one differs, it stands below with what it does
instead, and a test fails when it begins to agree: such differences are what mlkit's client must live with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from tests.server.conftest import Client, connect, descriptor
from tests.support.docker_registry import docker_registry

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.media_types import OCI_MANIFEST

_WITHOUT_REFERRERS = dict.fromkeys(
    (
        "test_referrers_are_listed",
        "test_the_answer_to_a_referrer_names_its_subject",
        "test_a_manifest_without_referrers_has_an_empty_list",
        "test_referrers_are_filtered_or_not_and_the_answer_says_so",
        "test_a_referrer_is_listed_with_its_annotations_and_the_type_of_its_config",
        "test_an_index_refers_too",
        "test_a_referrer_that_is_deleted_is_listed_no_more",
    ),
    "has no referrers API: the tag fallback is needed",
)

DIFFERENCES: dict[str, dict[str, str]] = {
    "docker-registry": {
        "test_a_chunk_that_leaves_a_gap_is_416": "takes it with 202: a client must compare the Range that comes back",
        "test_a_chunk_that_comes_twice_is_416": "appends it with 202: a client must compare the Range that comes back",
        "test_a_range_behind_the_end_is_416": "tells the length of the whole blob with its 416 and cuts the connection",
        "test_tags_come_in_pages": "knows neither n nor last, and gives all tags at once",
        "test_a_page_of_no_tags_is_empty": "knows no n, and gives all tags",
        "test_tags_come_in_lexical_order": "gives them as its disk does",
        **_WITHOUT_REFERRERS,
        "test_a_tag_is_deleted_without_its_manifest": "deletes by digest only",
    },
    "distribution": _WITHOUT_REFERRERS,
}
"""By registry, then by the name of the claim: what it does instead. `distribution` is release 3.0."""

BLOB = os.urandom(400_000)
SUBJECT = descriptor(b"some kit", OCI_MANIFEST)


@pytest.fixture(scope="module", params=["embedded", *DIFFERENCES])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    if request.param == "embedded":
        with RunningRegistry(Layout.create(folder)) as running:
            yield running.url
    else:
        with docker_registry(folder, request.param) as host:
            yield f"http://{host}"


@pytest.fixture
def client(url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    differences = DIFFERENCES.get(request.node.callspec.params["url"], {})
    if request.node.originalname in differences:
        request.applymarker(pytest.mark.xfail(reason=differences[request.node.originalname], strict=True))
    with connect(url) as http:
        yield Client(http)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own: the registries are shared."""
    return f"claims/{request.node.originalname.removeprefix('test_').replace('_', '-')[:60].rstrip('-')}"


def code_of(answer: httpx.Response) -> str:
    """The first error code of a refusal."""
    code = answer.json()["errors"][0]["code"]
    assert isinstance(code, str)
    return code
