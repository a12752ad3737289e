from __future__ import annotations

import json

import pytest
from tests.content.contract import push_manifest
from tests.registry.conftest import Connect
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer

from mlkit.errors import AuthError, IntegrityError, LimitError, NotFoundError
from mlkit.registry.host import Registry
from mlkit.registry.store import RegistryStore
from mlkit.spec.limits import ListLimits


@pytest.fixture
def registry(server: SimulatedRegistry, connect: Connect) -> Registry:
    return connect(server.host)


def serve_catalog(server: SimulatedRegistry, body: object, headers: dict[str, str] | None = None) -> None:
    server.answer("GET /v2/_catalog.*", lambda _: Answer(200, json.dumps(body).encode(), headers or {}), times=1)


def test_repositories_come_in_pages_and_what_is_no_name_is_passed_over(
    server: SimulatedRegistry, registry: Registry
) -> None:
    serve_catalog(server, {"repositories": ["a", "b/c", "../d", 7]}, {"Link": '</v2/_catalog?last=c>; rel="next"'})
    serve_catalog(server, {"repositories": ["b/c", "e"]})

    assert list(registry.repositories()) == ["a", "b/c", "e"]


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFoundError), (405, NotFoundError), (403, AuthError)], ids=["404", "405", "403"]
)
def test_a_registry_may_keep_its_catalog_to_itself(
    server: SimulatedRegistry, registry: Registry, status: int, error: type[Exception]
) -> None:
    server.fail_times(status, 10, on="GET /v2/_catalog.*")

    with pytest.raises(error):
        list(registry.repositories())


def test_a_catalog_that_is_no_list_is_refused(server: SimulatedRegistry, registry: Registry) -> None:
    serve_catalog(server, {"repositories": "all"})

    with pytest.raises(IntegrityError):
        list(registry.repositories())


def test_the_digest_of_a_tag_can_be_had_without_its_manifest(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    server.requests.clear()

    assert store.told("v1") == manifest.descriptor.digest
    assert store.told("v2") is None
    assert [request.method for request in server.requests] == ["HEAD", "HEAD"]


def test_a_registry_that_tells_no_state_has_none(registry: Registry) -> None:
    assert registry.state() is None


@pytest.mark.parametrize(("told", "state"), [("sha256:ab", "sha256:ab"), ("x" * 300, None), ("a b", None)])
def test_the_state_of_a_registry_is_a_short_word(
    server: SimulatedRegistry, registry: Registry, told: str, state: str | None
) -> None:
    server.answer("GET /v2/", lambda _: Answer(200, b"{}", {"Mlkit-State": told}))

    assert registry.state() == state


def test_what_the_registry_says_of_a_tag_is_a_digest_or_nothing(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("HEAD .*/manifests/.*", lambda _: Answer(200, b"", {"Docker-Content-Digest": "sha256:zz"}))

    assert store.told("v1") is None


def test_a_catalog_without_end_is_refused(server: SimulatedRegistry, connect: Connect) -> None:
    registry = connect(server.host, limits=ListLimits(tags=3))
    serve_catalog(server, {"repositories": ["a", "b", "c"]})
    serve_catalog(server, {"repositories": ["a", "b", "c", "d"]})

    assert list(registry.repositories()) == ["a", "b", "c"]
    with pytest.raises(LimitError, match="more than 3 repositories"):
        list(registry.repositories())


def test_a_tag_that_may_not_be_looked_at_is_no_absent_one(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer").descriptor
    server.answer("HEAD .*/manifests/.*", lambda _: Answer(403))

    with pytest.raises(AuthError):
        store.told("v1")
    with pytest.raises(AuthError):
        store.exists(manifest)
