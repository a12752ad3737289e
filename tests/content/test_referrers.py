"""What refers to content, however far away, and how it moves."""

from __future__ import annotations

import pytest
from tests.content.contract import ARTIFACT, push_manifest, read
from tests.content.test_graph import push_index

from mlkit.content.memory import MemoryStore
from mlkit.content.referrers import copy_referrers, referring
from mlkit.content.storage import BytesContent
from mlkit.errors import LimitError, NotFoundError
from mlkit.spec.descriptor import Descriptor


def test_referrers_of_referrers_come_after_what_they_refer_to() -> None:
    store = MemoryStore()
    kit = push_manifest(store, b"kit").descriptor
    sbom = push_manifest(store, b"sbom", subject=kit, artifact_type=ARTIFACT).descriptor
    signature = push_manifest(store, b"signature of the sbom", subject=sbom).descriptor
    push_manifest(store, b"about something else", subject=push_manifest(store, b"else").descriptor)

    assert [desc.digest for desc in referring(store, kit)] == [sbom.digest, signature.digest]


def test_what_refers_to_a_manifest_of_an_index_refers_to_the_index_too() -> None:
    store = MemoryStore()
    child = push_manifest(store, b"one of two").descriptor
    root = push_index(store, child, push_manifest(store, b"two of two").descriptor)
    of_child = push_manifest(store, b"of the child", subject=child).descriptor
    of_root = push_manifest(store, b"of the root", subject=root).descriptor

    assert {desc.digest for desc in referring(store, root)} == {of_child.digest, of_root.digest}


def test_a_chain_of_referrers_without_end_is_refused() -> None:
    store = MemoryStore()
    kit = last = push_manifest(store, b"kit").descriptor
    for number in range(10):
        last = push_manifest(store, b"%d" % number, subject=last).descriptor
    assert len(referring(store, kit)) == 10

    push_manifest(store, b"one too many", subject=last)

    with pytest.raises(LimitError, match="more than 10 deep"):
        referring(store, kit)


def test_more_referrers_than_anyone_needs_are_refused() -> None:
    store = MemoryStore()
    kit = push_manifest(store, b"kit").descriptor
    for number in range(4):
        push_manifest(store, b"%d" % number, subject=kit)

    assert len(referring(store, kit, limit=4)) == 4
    with pytest.raises(LimitError, match="more than 3 referrers"):
        referring(store, kit, limit=3)


def test_referrers_arrive_with_their_blobs_and_are_listed() -> None:
    source, target = MemoryStore(), MemoryStore()
    kit = push_manifest(source, b"kit").descriptor
    sbom = push_manifest(source, b"sbom", subject=kit, artifact_type=ARTIFACT)
    signature = push_manifest(source, b"signature", subject=sbom.descriptor)

    moved = copy_referrers(source, target, kit)

    assert [desc.digest for desc in moved] == [sbom.descriptor.digest, signature.descriptor.digest]
    assert [desc.digest for desc in target.referrers(kit, ARTIFACT)] == [sbom.descriptor.digest]
    assert [desc.digest for desc in target.referrers(sbom.descriptor)] == [signature.descriptor.digest]
    assert read(target, signature.layers[0]) == b"signature"


def test_a_referrer_that_is_there_and_not_listed_is_listed_afterwards() -> None:
    """Whoever pushed it died between the manifest and the list of referrers."""
    source, target = MemoryStore(), _Forgetful()
    kit = push_manifest(source, b"kit").descriptor
    note = push_manifest(source, b"note", subject=kit)
    target.lists = False
    copy_referrers(source, target, kit)
    assert target.exists(note.descriptor)
    assert list(target.referrers(kit)) == []

    target.lists = True
    copy_referrers(source, target, kit)

    assert [desc.digest for desc in target.referrers(kit)] == [note.descriptor.digest]


def test_a_referrer_whose_blob_is_gone_moves_not() -> None:
    source, target = MemoryStore(), MemoryStore()
    kit = push_manifest(source, b"kit").descriptor
    note = push_manifest(source, b"note", subject=kit)
    del source._blobs[note.layers[0].digest]

    with pytest.raises(NotFoundError, match=note.layers[0].digest.hex):
        copy_referrers(source, target, kit)

    assert not target.exists(note.descriptor)


class _Forgetful(MemoryStore):
    """A store whose list of referrers is written after the manifest, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = True
        self.listed: set[str] = set()

    def push(self, desc: Descriptor, content: BytesContent) -> None:  # type: ignore[override]
        super().push(desc, content)
        if self.lists:
            self.listed.add(str(desc.digest))

    def referrers(self, desc: Descriptor, artifact_type: str | None = None):  # type: ignore[no-untyped-def]
        return (found for found in super().referrers(desc, artifact_type) if str(found.digest) in self.listed)
