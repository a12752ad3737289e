"""What every store must do, whatever it is made of. A room inherits the class and gives a fixture `store`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlkit.content.storage import BytesContent, Ingestor, Target
from mlkit.errors import DigestMismatch, IntegrityError, NotFoundError, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import OCI_EMPTY, OCTET_STREAM

ARTIFACT = "application/vnd.example.note.v1+json"


def blob(content: bytes) -> Descriptor:
    """The descriptor of a layer with this content."""
    return Descriptor.of(content, OCTET_STREAM)


def push_blob(store: Target, content: bytes) -> Descriptor:
    """A layer that is in the store."""
    desc = blob(content)
    store.push(desc, BytesContent(content))
    return desc


def push_manifest(
    store: Target,
    *layers: bytes,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """A manifest that is in the store, with its config and layers."""
    config = Descriptor.of(b"{}", OCI_EMPTY)
    store.push(config, BytesContent(b"{}"))
    manifest = render_manifest(
        config=config,
        layers=tuple(push_blob(store, layer) for layer in layers),
        artifact_type=artifact_type,
        annotations=annotations,
        subject=subject,
    )
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest


def read(store: Target, desc: Descriptor, *, offset: int = 0) -> bytes:
    """The bytes of some content to their end."""
    with store.open(desc, offset=offset) as stream:
        return stream.read()


class StorageContract:
    """The tests; every name is a promise of `mlkit.content.storage`."""

    @pytest.mark.parametrize("size", [0, 1, 4096, 3 << 20, (9 << 20) + 1], ids=["empty", "one", "page", "3M", "9M+1"])
    def test_what_was_pushed_can_be_read(self, store: Target, size: int) -> None:
        content = os.urandom(size)

        desc = push_blob(store, content)

        assert store.exists(desc)
        assert read(store, desc) == content

    def test_content_that_was_never_pushed_does_not_exist(self, store: Target) -> None:
        desc = blob(b"never pushed")

        assert not store.exists(desc)
        with pytest.raises(NotFoundError, match=desc.digest.hex), store.open(desc) as stream:
            stream.read()

    def test_wrong_bytes_of_the_right_size_leave_the_store_unchanged(self, store: Target) -> None:
        desc = blob(b"what was promised")

        with pytest.raises(DigestMismatch):
            store.push(desc, BytesContent(b"WHAT was promised"))

        assert not store.exists(desc)

    @pytest.mark.parametrize(
        "content", [b"", b"what was", b"what was promised, and more"], ids=["none", "short", "long"]
    )
    def test_bytes_of_another_size_leave_the_store_unchanged(self, store: Target, content: bytes) -> None:
        desc = blob(b"what was promised")

        with pytest.raises(SizeMismatch):
            store.push(desc, BytesContent(content))

        assert not store.exists(desc)

    def test_many_wrong_bytes_leave_the_store_unchanged(self, store: Target) -> None:
        content = bytearray(os.urandom(9 << 20))
        desc = blob(bytes(content))
        content[-1] ^= 1

        with pytest.raises(DigestMismatch):
            store.push(desc, BytesContent(bytes(content)))

        assert not store.exists(desc)

    def test_pushing_twice_changes_nothing(self, store: Target) -> None:
        desc = push_blob(store, b"the same")

        store.push(desc, BytesContent(b"the same"))

        assert read(store, desc) == b"the same"

    def test_a_read_may_begin_anywhere(self, store: Target) -> None:
        desc = push_blob(store, b"0123456789")

        assert read(store, desc, offset=4) == b"456789"
        assert read(store, desc, offset=9) == b"9"

    def test_exactly_as_many_bytes_are_read_as_are_asked_for(self, store: Target) -> None:
        content = os.urandom(100_000)
        desc = push_blob(store, content)

        with store.open(desc) as stream:
            first, second = stream.read(70_000), stream.read(70_000)

        assert (first, second) == (content[:70_000], content[70_000:])

    def test_a_descriptor_that_promises_less_is_not_read_as_whole(self, store: Target) -> None:
        desc = push_blob(store, b"0123456789")
        shorter = Descriptor(desc.media_type, desc.digest, 5)

        with pytest.raises((IntegrityError, NotFoundError)), store.open(shorter) as stream:
            stream.read(5)

    def test_a_name_resolves_to_what_was_tagged(self, store: Target) -> None:
        manifest = push_manifest(store, b"layer")

        store.tag(manifest.descriptor, "v1")

        assert store.resolve("v1").bare == manifest.descriptor.bare
        assert read(store, store.resolve("v1")) == manifest.raw

    def test_a_digest_resolves_to_its_manifest(self, store: Target) -> None:
        manifest = push_manifest(store, b"layer")
        store.tag(manifest.descriptor, "v1")

        assert store.resolve(str(manifest.descriptor.digest)).bare == manifest.descriptor.bare

    def test_a_name_moves_to_what_was_tagged_last(self, store: Target) -> None:
        first = push_manifest(store, b"first")
        second = push_manifest(store, b"second")
        store.tag(first.descriptor, "v1")
        store.tag(first.descriptor, "old")

        store.tag(second.descriptor, "v1")

        assert store.resolve("v1").digest == second.descriptor.digest
        assert store.resolve("old").digest == first.descriptor.digest

    def test_tagging_twice_changes_nothing(self, store: Target) -> None:
        manifest = push_manifest(store, b"layer")
        store.tag(manifest.descriptor, "v1")

        store.tag(manifest.descriptor, "v1")

        assert store.resolve("v1").digest == manifest.descriptor.digest

    @pytest.mark.parametrize("name", ["absent", str(Digest.of(b"absent"))], ids=["tag", "digest"])
    def test_what_is_not_there_does_not_resolve(self, store: Target, name: str) -> None:
        with pytest.raises(NotFoundError, match=name):
            store.resolve(name)

    def test_a_manifest_that_is_not_there_cannot_be_tagged(self, store: Target) -> None:
        config = push_blob(store, b"{}")
        manifest = render_manifest(config=config, layers=())

        with pytest.raises(NotFoundError):
            store.tag(manifest.descriptor, "v1")

        with pytest.raises(NotFoundError):
            store.resolve("v1")

    def test_referrers_are_found_by_their_subject(self, store: Target) -> None:
        subject = push_manifest(store, b"layer").descriptor
        other = push_manifest(store, b"other layer").descriptor
        note = push_manifest(store, b"note", subject=subject, artifact_type=ARTIFACT, annotations={"by": "us"})
        push_manifest(store, b"another", subject=other, artifact_type=ARTIFACT)

        found = list(store.referrers(subject))

        assert [(desc.digest, desc.artifact_type, dict(desc.annotations)) for desc in found] == [
            (note.descriptor.digest, ARTIFACT, {"by": "us"})
        ]

    def test_referrers_can_be_asked_for_by_type(self, store: Target) -> None:
        subject = push_manifest(store, b"layer").descriptor
        push_manifest(store, b"note", subject=subject, artifact_type=ARTIFACT)
        wanted = push_manifest(store, b"note", subject=subject, artifact_type="application/vnd.example.wanted")

        found = list(store.referrers(subject, "application/vnd.example.wanted"))

        assert [desc.digest for desc in found] == [wanted.descriptor.digest]

    def test_what_nothing_refers_to_has_no_referrers(self, store: Target) -> None:
        subject = push_manifest(store, b"layer").descriptor

        assert list(store.referrers(subject)) == []

    @pytest.mark.parametrize("size", [0, 5, (9 << 20) + 1], ids=["empty", "small", "9M+1"])
    def test_content_of_unknown_digest_can_be_written(self, store: Target, size: int) -> None:
        if not isinstance(store, Ingestor):
            pytest.skip("this store takes no content of unknown digest")
        content = os.urandom(size)

        with store.ingest() as writer:
            writer.write(content[: size // 2])
            writer.write(memoryview(content)[size // 2 :])
            digest, written = writer.commit()

        assert (digest, written) == (Digest.of(content), size)
        assert read(store, Descriptor(OCTET_STREAM, digest, size)) == content

    def test_content_without_a_commit_is_dropped(self, store: Target) -> None:
        if not isinstance(store, Ingestor):
            pytest.skip("this store takes no content of unknown digest")

        with store.ingest() as writer:
            writer.write(b"never committed")

        assert not store.exists(blob(b"never committed"))

    @pytest.mark.parametrize("size", [10, (9 << 20) + 7], ids=["small", "9M+7"])
    def test_content_can_be_copied_from_the_middle_of_a_file(self, store: Target, size: int, tmp_path: Path) -> None:
        if not isinstance(store, Ingestor):
            pytest.skip("this store takes no content of unknown digest")
        content = os.urandom(size)
        path = tmp_path / "source"
        with path.open("wb") as file:
            file.write(b"head" + content + b"tail")

        with path.open("rb") as source, store.ingest() as writer:
            source.seek(4)
            writer.write(b"before")
            writer.copy_from(source, size)
            writer.write(b"after")
            digest, _ = writer.commit()
            rest = source.read()

        assert digest == Digest.of(b"before" + content + b"after")
        assert rest == b"tail"

    def test_a_file_that_ends_early_is_a_size_mismatch(self, store: Target, tmp_path: Path) -> None:
        if not isinstance(store, Ingestor):
            pytest.skip("this store takes no content of unknown digest")
        path = tmp_path / "source"
        with path.open("wb") as file:
            file.write(b"short")

        with path.open("rb") as source, store.ingest() as writer, pytest.raises(SizeMismatch):
            writer.copy_from(source, 6)
