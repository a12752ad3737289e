"""A store in memory beyond what every store does: names that are taken away, documents, sums."""

from __future__ import annotations

import pytest
from tests.content.contract import blob, push_manifest

from mlkit.content.memory import MemoryStore
from mlkit.errors import NotFoundError
from mlkit.spec.descriptor import Descriptor


def test_a_name_that_is_taken_away_is_gone_and_what_it_named_is_not() -> None:
    store = MemoryStore()
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")
    store.tag(manifest.descriptor, "v2")

    assert store.untag("v1") == manifest.descriptor

    assert store.names() == {"v2": manifest.descriptor}
    assert store.raw(manifest.descriptor) == manifest.raw
    with pytest.raises(NotFoundError, match=r"'v1\\x1b'"):
        store.untag("v1\x1b")


def test_what_names_tell_can_be_changed_without_changing_the_store() -> None:
    store = MemoryStore()
    manifest = push_manifest(store, b"layer")
    store.tag(manifest.descriptor, "v1")

    store.names().clear()

    assert store.resolve("v1") == manifest.descriptor


def test_a_document_that_is_not_there_cannot_be_had() -> None:
    with pytest.raises(NotFoundError):
        MemoryStore().raw(blob(b"absent"))


def test_a_referrer_tells_the_type_of_its_config_where_it_has_none_of_its_own() -> None:
    store = MemoryStore()
    subject = push_manifest(store, b"layer").descriptor
    note = push_manifest(store, b"note", subject=subject)

    (found,) = store.referrers(Descriptor(subject.media_type, subject.digest, subject.size))

    assert (found.digest, found.artifact_type) == (note.descriptor.digest, note.config.media_type)
    assert list(store.referrers(subject, "application/x")) == []
