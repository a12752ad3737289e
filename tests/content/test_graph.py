"""What points at what, and what refuses to be walked."""

from __future__ import annotations

import pytest
from tests.content.contract import blob, push_blob, push_manifest

from mlkit.content.graph import children, walk
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent, Target
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, OCTET_STREAM


def push_index(store: Target, *manifests: Descriptor) -> Descriptor:
    raw = render_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item.render() for item in manifests]})
    desc = Descriptor.of(raw, OCI_INDEX)
    store.push(desc, BytesContent(raw))
    return desc


def test_the_children_of_a_manifest_are_its_config_and_layers() -> None:
    store = MemoryStore()
    manifest = push_manifest(store, b"one", b"two")

    assert [child.digest for child in children(store, manifest.descriptor)] == [
        blob(b"{}").digest,
        blob(b"one").digest,
        blob(b"two").digest,
    ]


def test_the_children_of_an_index_are_its_manifests() -> None:
    store = MemoryStore()
    first, second = push_manifest(store, b"one").descriptor, push_manifest(store, b"two").descriptor

    assert [child.digest for child in children(store, push_index(store, first, second))] == [
        first.digest,
        second.digest,
    ]


def test_a_layer_has_no_children() -> None:
    store = MemoryStore()

    assert children(store, push_blob(store, b"layer")) == ()


def test_children_come_before_parents_and_each_once() -> None:
    store = MemoryStore()
    first = push_manifest(store, b"one", b"shared").descriptor
    second = push_manifest(store, b"shared", b"two", b"two").descriptor
    root = push_index(store, first, second)

    found = [desc.digest for desc, _ in walk(store, root)]

    assert found == [
        blob(b"{}").digest,
        blob(b"one").digest,
        blob(b"shared").digest,
        first.digest,
        blob(b"two").digest,
        second.digest,
        root.digest,
    ]


def test_what_is_not_wanted_is_neither_given_nor_read() -> None:
    store = MemoryStore()
    wanted = push_manifest(store, b"one").descriptor
    absent = render_manifest(config=blob(b"never pushed"), layers=()).descriptor
    root = push_index(store, wanted, absent)

    found = [desc.digest for desc, _ in walk(store, root, wanted=lambda desc: desc != absent)]

    assert found == [blob(b"{}").digest, blob(b"one").digest, wanted.digest, root.digest]


def test_a_document_that_is_absent_is_not_found() -> None:
    absent = render_manifest(config=blob(b"x"), layers=()).descriptor

    with pytest.raises(NotFoundError, match=absent.digest.hex):
        list(walk(MemoryStore(), absent))


def test_indexes_may_be_nested_four_deep_and_no_deeper() -> None:
    store = MemoryStore()
    desc = push_manifest(store, b"layer").descriptor
    for _ in range(4):
        desc = push_index(store, desc)

    assert len(list(walk(store, desc))) == 7
    with pytest.raises(LimitError, match="4 levels"):
        list(walk(store, push_index(store, desc)))


def test_b12_a_manifest_that_is_also_listed_as_a_layer_is_refused() -> None:
    store = MemoryStore()
    inner = push_manifest(store, b"layer")
    as_layer = Descriptor(OCTET_STREAM, inner.descriptor.digest, inner.descriptor.size)
    config = Descriptor.of(b"{}", OCI_EMPTY)
    confused = render_manifest(config=config, layers=(as_layer,))
    store.push(confused.descriptor, BytesContent(confused.raw))

    for order in ((inner.descriptor, confused.descriptor), (confused.descriptor, inner.descriptor)):
        with pytest.raises(IntegrityError, match="once as a manifest and once as a blob"):
            list(walk(store, push_index(store, *order)))


def test_a_layer_that_claims_to_be_a_manifest_is_never_parsed() -> None:
    store = MemoryStore()
    config = push_blob(store, b"{}")
    posing = Descriptor.of(b"not JSON at all", OCI_MANIFEST)
    manifest = render_manifest(config=config, layers=(posing,))
    store.push(manifest.descriptor, BytesContent(manifest.raw))

    assert [(desc.digest, found is None) for desc, found in walk(store, manifest.descriptor)] == [
        (config.digest, True),
        (posing.digest, True),
        (manifest.descriptor.digest, False),
    ]


def test_a_blob_that_claims_to_be_a_manifest_by_its_descriptor_is_refused() -> None:
    store = MemoryStore()
    layer = push_blob(store, b"weights")

    with pytest.raises(IntegrityError):
        list(walk(store, Descriptor(OCI_MANIFEST, layer.digest, layer.size)))


def test_one_digest_with_two_sizes_is_refused() -> None:
    store = MemoryStore()
    config = push_blob(store, b"{}")
    manifests = []
    for size in (5, 6):
        layer = Descriptor(OCTET_STREAM, blob(b"layer").digest, size)
        manifest = render_manifest(config=config, layers=(layer,))
        store.push(manifest.descriptor, BytesContent(manifest.raw))
        manifests.append(manifest.descriptor)

    with pytest.raises(IntegrityError, match="different sizes"):
        list(walk(store, push_index(store, *manifests)))
