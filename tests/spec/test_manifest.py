from __future__ import annotations

import json
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import LAYER_LIMIT, Index, Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
)

BLOB = {"mediaType": "text/plain", "digest": str(Digest.of(b"kit")), "size": 3}
CONFIG = {"mediaType": MODELPACK_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}


def manifest_bytes(**changes: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [BLOB], **changes}
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


def index_bytes(**changes: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [BLOB], **changes}
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(manifest_bytes(manifests=[BLOB]), id="a manifest with manifests"),
        pytest.param(manifest_bytes(manifests=None), id="a manifest with null manifests"),
        pytest.param(index_bytes(layers=[BLOB]), id="an index with layers"),
        pytest.param(index_bytes(config=CONFIG), id="an index with a config"),
        pytest.param(manifest_bytes(mediaType=OCI_INDEX), id="a manifest that says it is an index"),
        pytest.param(index_bytes(mediaType=..., config=CONFIG), id="an index without a type and with a config"),
    ],
)
def test_b05_a_document_that_is_manifest_and_index_at_once_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(raw)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param(manifest_bytes(), OCI_INDEX, id="announced as an index"),
        pytest.param(manifest_bytes(), DOCKER_MANIFEST, id="announced as Docker's"),
        pytest.param(index_bytes(), OCI_MANIFEST, id="an index announced as a manifest"),
        pytest.param(index_bytes(mediaType=...), None, id="neither says what it is"),
        pytest.param(manifest_bytes(mediaType=...), "application/json", id="no media type of a manifest"),
        pytest.param(manifest_bytes(mediaType=..., config=...), None, id="nothing that tells what it is"),
        pytest.param(manifest_bytes(mediaType=3), None, id="a type that is no text"),
    ],
)
def test_b06_media_types_that_disagree_or_leave_a_doubt_are_refused(raw: bytes, told: str | None) -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(raw, media_type=told)


@pytest.mark.parametrize(
    ("raw", "told", "kind"),
    [
        pytest.param(manifest_bytes(), f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST, id="parameters"),
        pytest.param(manifest_bytes(), OCI_MANIFEST.upper(), OCI_MANIFEST, id="upper case"),
        pytest.param(manifest_bytes(mediaType=...), OCI_MANIFEST, OCI_MANIFEST, id="only announced"),
        pytest.param(manifest_bytes(mediaType=""), OCI_MANIFEST, OCI_MANIFEST, id="empty in the document"),
        pytest.param(manifest_bytes(mediaType=...), None, OCI_MANIFEST, id="told by its config"),
        pytest.param(index_bytes(mediaType=...), OCI_INDEX, OCI_INDEX, id="an index only announced"),
        pytest.param(manifest_bytes(mediaType=DOCKER_MANIFEST), None, DOCKER_MANIFEST, id="Docker's manifest"),
        pytest.param(index_bytes(mediaType=DOCKER_INDEX), None, DOCKER_INDEX, id="Docker's list"),
    ],
)
def test_the_media_type_is_taken_from_whoever_says_it(raw: bytes, told: str | None, kind: str) -> None:
    assert parse_manifest(raw, media_type=told).descriptor.media_type == kind


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(manifest_bytes(schemaVersion=1), id="version 1"),
        pytest.param(manifest_bytes(schemaVersion=2.0), id="a float"),
        pytest.param(manifest_bytes(schemaVersion="2"), id="text"),
        pytest.param(manifest_bytes(schemaVersion=True), id="a truth value"),
        pytest.param(manifest_bytes(schemaVersion=...), id="missing"),
        pytest.param(
            json.dumps({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": [], "signatures": []}).encode(),
            id="Docker's signed schema 1",
        ),
    ],
)
def test_b10_another_schema_version_is_not_supported(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not supported"):
        parse_manifest(raw)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param(manifest_bytes(layers=[BLOB] * (LAYER_LIMIT + 1)), LimitError, id="too many layers"),
        pytest.param(index_bytes(manifests=[BLOB] * (LAYER_LIMIT + 1)), LimitError, id="too many manifests"),
        pytest.param(manifest_bytes(layers=[BLOB, {**BLOB, "size": 4}]), IntegrityError, id="two sizes of one layer"),
        pytest.param(manifest_bytes(layers=[{**CONFIG, "size": 3}]), IntegrityError, id="another size than the config"),
        pytest.param(index_bytes(manifests=[BLOB, {**BLOB, "size": 4}]), IntegrityError, id="two sizes in an index"),
    ],
)
def test_b11_layers_are_counted_and_agree_with_each_other(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_manifest(raw)


def test_content_that_occurs_twice_counts_once() -> None:
    # Two entries may hold the same file, under different media types.
    manifest = parse_manifest(manifest_bytes(layers=[BLOB, {**BLOB, "mediaType": "text/markdown"}]))

    assert isinstance(manifest, Manifest)
    assert len(manifest.layers) == 2
    assert manifest.size == len(manifest.raw) + 2 + 3


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(manifest_bytes(config=...), id="no config"),
        pytest.param(manifest_bytes(config=None), id="null config"),
        pytest.param(manifest_bytes(layers=...), id="no layers"),
        pytest.param(manifest_bytes(layers={}), id="layers in an object"),
        pytest.param(manifest_bytes(layers=["x"]), id="a layer that is text"),
        pytest.param(manifest_bytes(subject="x"), id="a subject that is text"),
        pytest.param(manifest_bytes(annotations={"a": 1}), id="an annotation that is a number"),
        pytest.param(manifest_bytes(artifactType=7), id="an artifact type that is a number"),
        pytest.param(index_bytes(manifests=...), id="no manifests"),
        pytest.param(b"[]", id="a list"),
    ],
)
def test_a_malformed_manifest_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="team/digits:1"):
        parse_manifest(raw, media_type=OCI_INDEX if b"index" in raw else OCI_MANIFEST, what="team/digits:1")


def test_null_is_a_list_of_nothing_where_go_writes_one() -> None:
    manifest, index = parse_manifest(manifest_bytes(layers=None)), parse_manifest(index_bytes(manifests=None))

    assert isinstance(manifest, Manifest)
    assert isinstance(index, Index)
    assert manifest.layers == index.manifests == ()


def test_the_digest_is_of_the_bytes_received() -> None:
    raw = b"\n " + manifest_bytes(unknown={"b": 1, "a": 2})

    manifest = parse_manifest(raw)

    assert manifest.raw == raw
    assert manifest.descriptor.digest == Digest.of(raw)
    assert manifest.descriptor.size == len(raw)


@pytest.mark.parametrize(
    ("changes", "is_kit"),
    [
        ({"artifactType": MODELPACK_ARTIFACT, "config": BLOB, "layers": []}, True),
        ({"artifactType": KITOPS_ARTIFACT, "config": BLOB, "layers": []}, True),
        ({"config": {**BLOB, "mediaType": KITOPS_CONFIG}}, True),
        ({}, True),
        ({"config": {**BLOB, "mediaType": "application/vnd.oci.image.config.v1+json"}}, False),
        ({"artifactType": "application/vnd.cncf.helm", "config": BLOB}, False),
    ],
)
def test_a_kit_is_known_by_its_artifact_type_or_its_config(changes: dict[str, Any], is_kit: bool) -> None:
    manifest = parse_manifest(manifest_bytes(**changes))

    assert isinstance(manifest, Manifest)
    assert manifest.is_kit is is_kit


def test_a_rendered_manifest_parses_to_itself_and_is_always_the_same() -> None:
    blob = Descriptor.parse(BLOB)
    config = Descriptor.parse(CONFIG)

    def render() -> Manifest:
        return render_manifest(
            config=config,
            layers=(blob,),
            artifact_type=MODELPACK_ARTIFACT,
            annotations={"b": "1", "a": "ü"},
            subject=blob,
        )

    assert render().raw == render().raw
    assert parse_manifest(render().raw) == render()
    assert render().descriptor.artifact_type == MODELPACK_ARTIFACT


def test_a_manifest_says_nothing_of_what_it_was_not_given() -> None:
    manifest = render_manifest(config=Descriptor.parse(CONFIG), layers=(), annotations={})

    assert set(json.loads(manifest.raw)) == {"schemaVersion", "mediaType", "config", "layers"}
    assert parse_manifest(manifest.raw) == manifest


def test_an_index_lists_its_manifests() -> None:
    index = parse_manifest(index_bytes(artifactType="application/x", subject=BLOB, annotations={"a": "b"}))

    assert isinstance(index, Index)
    assert index.manifests == (Descriptor.parse(BLOB),)
    assert index.subject == Descriptor.parse(BLOB)
    assert index.annotations == {"a": "b"}
    assert index.descriptor.artifact_type == "application/x"
