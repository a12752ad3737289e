"""Registries that refuse a manifest: for what they lost meanwhile, or for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.content.contract import blob, push_manifest
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.errors import LimitError, MlkitError, NetworkError
from mlkit.registry.store import RegistryStore

PUT = "PUT .*/manifests/.*"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path)


def _message(digest: str) -> dict[str, object]:
    return {"message": f"blob unknown to registry: {digest}"}


def _detail(digest: str) -> dict[str, object]:
    return {"message": "blob unknown to registry", "detail": digest}


def _object(digest: str) -> dict[str, object]:
    return {"message": "blob unknown", "detail": {"digest": digest}}


def _nothing(digest: str) -> dict[str, object]:
    return {"message": "some blob"}


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("told", [_message, _detail, _object, _nothing])
def test_fault43_a_blob_that_the_registry_lost_meanwhile_is_sent_again(
    told: object, status: int, server: SimulatedRegistry, store: RegistryStore, layout: Layout
) -> None:
    manifest = push_manifest(layout, b"kept", b"lost", b"and another one")
    copy(layout, store, manifest.descriptor)
    lost, blobs = str(blob(b"lost").digest), server.repository("team/digits").blobs
    server.repository("team/digits").manifests.clear()
    server.requests.clear()

    def lose(request: Request) -> Answer:
        del blobs[lost], blobs[str(blob(b"and another one").digest)]
        error = {"code": "MANIFEST_BLOB_UNKNOWN", **told(lost)}  # type: ignore[operator]  # one of those above
        return Answer(status, json.dumps({"errors": [error]}).encode())

    server.answer(PUT, lose, times=1)

    result = copy(layout, store, manifest.descriptor)

    assert blobs[lost] == b"lost"
    assert list(server.repository("team/digits").manifests) == [str(manifest.descriptor.digest)]
    assert server.received_bytes(".*/blobs/.*") == len(b"lost") + len(b"and another one")
    assert blob(b"lost").digest in [desc.digest for desc in result.moved]


def test_a_registry_that_says_of_a_lost_blob_that_it_exists_is_not_asked_again(
    server: SimulatedRegistry, store: RegistryStore, layout: Layout
) -> None:
    manifest = push_manifest(layout, b"lost")
    lost = str(blob(b"lost").digest)
    server.answer(f"HEAD .*/{lost}", lambda _: Answer(200))

    copy(layout, store, manifest.descriptor)

    assert server.repository("team/digits").blobs[lost] == b"lost"
    assert len(server.lines(PUT)) == 2


def test_a_registry_that_loses_it_again_is_told_of(
    server: SimulatedRegistry, store: RegistryStore, layout: Layout
) -> None:
    manifest = push_manifest(layout, b"lost")
    lost = str(blob(b"lost").digest)
    error = {"code": "MANIFEST_BLOB_UNKNOWN", **_message(lost)}
    server.answer(PUT, lambda _: Answer(404, json.dumps({"errors": [error]}).encode()))

    with pytest.raises(NetworkError, match=lost):
        copy(layout, store, manifest.descriptor)

    assert len(server.lines(PUT)) == 2
    assert len(server.lines("POST .*")) == 3


def test_what_was_not_to_be_moved_is_not_moved_for_a_registry_that_lacks_it(
    server: SimulatedRegistry, store: RegistryStore, layout: Layout
) -> None:
    manifest = push_manifest(layout, b"lost")
    lost = blob(b"lost").digest

    with pytest.raises(NetworkError, match=str(lost)):
        copy(layout, store, manifest.descriptor, wanted=lambda desc: desc.digest != lost)

    assert str(lost) not in server.repository("team/digits").blobs


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (413, "SIZE_INVALID", LimitError),
        (400, "MANIFEST_INVALID", NetworkError),
        (405, "UNSUPPORTED", NetworkError),
    ],
)
def test_fault45_a_manifest_that_is_refused_is_told_in_the_registrys_words_and_nothing_is_tagged(
    status: int,
    code: str,
    error: type[MlkitError],
    server: SimulatedRegistry,
    store: RegistryStore,
    layout: Layout,
) -> None:
    manifest = push_manifest(layout, b"layer")
    body = json.dumps({"errors": [{"code": code, "message": "because of its shape"}]}).encode()
    server.answer(PUT, lambda _: Answer(status, body))

    with pytest.raises(error, match=f"{code}: because of its shape") as raised:
        copy(layout, store, manifest.descriptor)

    assert raised.type is error
    assert len(server.lines(PUT)) == 1
    assert server.repository("team/digits").tags == {}
    assert server.repository("team/digits").manifests == {}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("verb", ["HEAD", "POST", "PATCH", "PUT", "GET"])
def test_fault34_a_registry_that_is_unwell_for_a_while_is_asked_again(
    verb: str,
    status: int,
    server: SimulatedRegistry,
    store: RegistryStore,
    layout: Layout,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", 5)
    manifest = push_manifest(layout, b"layer, in a chunk")
    server.fail_times(status, 3, on=f"{verb} .*")

    copy(layout, store, manifest.descriptor, concurrency=1)
    store.tag(manifest.descriptor, "v1")

    assert server.repository("team/digits").tags == {"v1": str(manifest.descriptor.digest)}
    assert len(waits) == 3
    assert all(wait <= 0.25 * 2**number for number, wait in enumerate(waits))
