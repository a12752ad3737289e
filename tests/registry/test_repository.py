"""Manifests and deletion, where registries lie or lack a part of the API."""

from __future__ import annotations

import pytest
from tests.content.contract import blob, push_blob, push_manifest, read
from tests.registry.conftest import Connect
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer

from mlkit.content.storage import BytesContent
from mlkit.errors import (
    DigestMismatch,
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
    NotFoundError,
)
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST


def test_f07_a_registry_that_lies_about_a_digest_is_not_believed(
    server: SimulatedRegistry, store: RegistryStore, connect: Connect
) -> None:
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    other = push_manifest(store, b"other")
    asked = connect(server.host).repository("team/digits")

    server.wrong_digest = True
    with pytest.raises(IntegrityError, match="says 'sha256:0000"):
        asked.resolve("v1")
    server.wrong_digest = False
    content = server.repository("team/digits").manifests
    content[str(manifest.descriptor.digest)] = content[str(other.descriptor.digest)]
    with pytest.raises(IntegrityError):
        asked.resolve(str(manifest.descriptor.digest))
    with pytest.raises(DigestMismatch):
        read(asked, manifest.descriptor)


def test_f12_a_registry_that_rewrites_a_manifest_is_found_out(server: SimulatedRegistry, store: RegistryStore) -> None:
    push_blob(store, b"{}")
    manifest = render_manifest(config=Descriptor.of(b"{}", OCI_EMPTY), layers=())
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, manifest.raw + b"\n", {"Content-Type": OCI_MANIFEST}))

    with pytest.raises(IntegrityError, match="changed what it was given"):
        store.push(manifest.descriptor, BytesContent(manifest.raw))

    server.rules.clear()
    server.wrong_digest = True
    with pytest.raises(IntegrityError, match="says"):
        store.push(manifest.descriptor, BytesContent(manifest.raw))


def test_a_manifest_that_was_seen_is_not_asked_for_again(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    server.requests.clear()

    desc = store.resolve("v1")
    assert read(store, desc) == store.raw(desc) == manifest.raw
    store.tag(desc, "v2")

    assert [line.split()[0] for line in server.lines()] == ["GET", "PUT"]


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("text/html", b"<html>", IntegrityError),
        (OCI_MANIFEST, b"", IntegrityError),
        (OCI_INDEX, b'{"schemaVersion":2,"mediaType":"' + OCI_MANIFEST.encode() + b'"}', IntegrityError),
        (OCI_MANIFEST, b'{"schemaVersion":1}', IntegrityError),
        (OCI_MANIFEST, b"[" * 1000, LimitError),
    ],
    ids=["html", "empty", "mistyped", "schema1", "deep"],
)
def test_what_is_no_manifest_does_not_resolve(
    content_type: str, body: bytes, error: type[MlkitError], server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.answer("GET .*/manifests/.*", lambda _: Answer(200, body, {"Content-Type": content_type}))

    with pytest.raises(error):
        store.resolve("v1")


@pytest.mark.parametrize("name", ["", "a b", "../../x", "-x", "v" * 129, "v1?x=y", "v1#x", "é"])
def test_what_is_no_tag_is_never_asked_for(name: str, server: SimulatedRegistry, store: RegistryStore) -> None:
    with pytest.raises(NotFoundError):
        store.resolve(name)

    assert [line for line in server.lines() if "manifests" in line] == []


def test_a_manifest_under_a_sha512_digest_is_found(server: SimulatedRegistry, store: RegistryStore) -> None:
    push_blob(store, b"{}")
    raw = render_manifest(config=Descriptor.of(b"{}", OCI_EMPTY), layers=()).raw
    hasher = Digest("sha512", "0" * 128).hasher()
    hasher.update(raw)
    desc = Descriptor(OCI_MANIFEST, Digest.finished(hasher), len(raw))

    store.push(desc, BytesContent(raw))

    assert store.resolve(str(desc.digest)).bare == desc
    assert read(store, desc) == raw


def test_a_manifest_that_is_too_large_says_so(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    server.fail_times(413, 1, on="PUT .*/manifests/v1")
    server.fail_times(400, 1, on="PUT .*/manifests/v1", body=b'{"errors":[{"code":"MANIFEST_INVALID"}]}')

    with pytest.raises(LimitError, match="too large"):
        store.tag(manifest.descriptor, "v1")
    with pytest.raises(NetworkError, match="MANIFEST_INVALID"):
        store.tag(manifest.descriptor, "v1")

    assert list(store.tags()) == []


def test_a_tag_is_removed_alone(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    for tag in ("v1", "v2"):
        store.tag(manifest.descriptor, tag)

    store.untag("v1")

    assert list(store.tags()) == ["v2"]
    assert store.exists(manifest.descriptor)
    with pytest.raises(NotFoundError, match='no tag "v1"'):
        store.untag("v1")
    server.without_untag = True
    with pytest.raises(NetworkError, match="alone"):
        store.untag("v2")
    server.fail_times(403, 1, on="DELETE .*")
    with pytest.raises(MlkitError):
        store.untag("v2")


def test_content_is_deleted_where_that_is_allowed(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    (layer,) = manifest.layers

    store.delete(manifest.descriptor)
    store.delete(layer)

    assert not store.exists(manifest.descriptor)
    assert not store.exists(layer)
    with pytest.raises(NotFoundError):
        store.delete(layer)
    server.without_delete = True
    with pytest.raises(NetworkError, match="does not let anyone delete"):
        store.delete(push_blob(store, b"layer"))


def test_a_small_document_is_read_whole_and_a_large_one_is_not(store: RegistryStore) -> None:
    desc = push_blob(store, b"{}")

    assert store.raw(desc) == b"{}"
    with pytest.raises(LimitError):
        store.raw(Descriptor(desc.media_type, desc.digest, 5 << 20))
    with pytest.raises(LimitError):
        store.raw(Descriptor(OCI_MANIFEST, desc.digest, 5 << 20))


def test_a_repository_of_docker_hub_has_a_library(connect: Connect) -> None:
    hub = connect("docker.io", plain_http=False)

    assert hub.repository("alpine").name == "docker.io/library/alpine"
    assert hub.repository("team/digits").name == "docker.io/team/digits"
    assert hub.repository("team/digits") is hub.repository("team/digits")


def test_what_is_asked_for_is_named_in_every_error(server: SimulatedRegistry, store: RegistryStore) -> None:
    desc = blob(b"x")

    for act in (lambda: list(store.tags()), lambda: store.open(desc), lambda: store.resolve("v1")):
        with pytest.raises(NotFoundError, match=store.name):
            act()


def test_only_so_many_bytes_of_manifests_are_kept_and_the_oldest_are_asked_for_again(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = push_manifest(store, b"one"), push_manifest(store, b"two")
    asked = [store.resolve(str(manifest.descriptor.digest)) for manifest in (one, two)]
    monkeypatch.setattr("mlkit.registry.manifests._KEPT_BYTES", len(one.raw) + len(two.raw))
    three = push_manifest(store, b"three").descriptor
    store.resolve(str(three.digest))
    server.requests.clear()

    assert [store.raw(desc) for desc in (asked[1], asked[0])] == [two.raw, one.raw]

    assert server.lines("GET .*/manifests/.*") == [f"GET /v2/team/digits/manifests/{one.descriptor.digest}"]
