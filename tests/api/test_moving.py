"""Kits that move with what refers to them, and tags that tell where they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.contract import ARTIFACT, push_manifest
from tests.content.oracle import tree
from tests.content.test_graph import push_index
from tests.support.cli import WEIGHTS, write_project
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Request

import mlkit
from mlkit.api.moving import UnpackedEntry, by_entry
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from mlkit.server import RunningRegistry
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference

MIB = 1 << 20


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    """host:port of another registry."""
    with RunningRegistry(Layout.create(tmp_path / "second-registry")) as running:
        yield running.host


def sign(session: Session, reference: str) -> tuple[Digest, Digest]:
    """A note about a kit in the local store, and a note about the note."""
    kit = session.local(Reference.parse(reference))
    note = push_manifest(session.layout, b"a note", subject=kit.bare, artifact_type=ARTIFACT).descriptor
    return note.digest, push_manifest(session.layout, b"on the note", subject=note.bare).descriptor.digest


def referrers(session: Session, reference: str) -> list[Digest]:
    """What a registry says refers to a kit, and what refers to that."""
    parsed = Reference.parse(reference)
    repository = session.registry(parsed)
    near = list(repository.referrers(repository.resolve(parsed.target)))
    return [found.digest for found in [*near, *(far for one in near for far in repository.referrers(one))]]


def remote_digest(session: Session, reference: str) -> Digest:
    parsed = Reference.parse(reference)
    return session.registry(parsed).resolve(parsed.target).digest


def test_signatures_travel_from_store_to_store(project: Path, host: str, session: Session, other: Session) -> None:
    reference = f"{host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    signatures = sign(session, reference)

    pushed = mlkit.push(reference, session=session)
    rehearsed = mlkit.pull(reference, session=other, dry_run=True)
    pulled = mlkit.pull(reference, session=other)

    kit = other.local(Reference.parse(reference))
    (note,) = other.layout.referrers(kit)
    (on_note,) = other.layout.referrers(note)
    assert (note.digest, on_note.digest) == signatures
    assert pushed.referrers == rehearsed.referrers == pulled.referrers == 2
    assert rehearsed.moved_bytes == pulled.moved_bytes == pushed.moved_bytes > pushed.size
    assert mlkit.pull(reference, session=other).moved_bytes == 0


def test_signatures_stay_behind_when_nobody_wants_them(
    project: Path, host: str, session: Session, other: Session
) -> None:
    reference = f"{host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    sign(session, reference)

    alone = mlkit.push(reference, referrers=False, session=session)
    assert referrers(session, reference) == []
    mlkit.push(reference, session=session)
    pulled = mlkit.pull(reference, referrers=False, session=other)

    assert alone.referrers == pulled.referrers == 0
    assert list(other.layout.referrers(other.local(Reference.parse(reference)))) == []


def test_a_part_of_a_kit_has_its_signatures_too(project: Path, host: str, session: Session, other: Session) -> None:
    reference = f"{host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    signatures = sign(session, reference)
    mlkit.push(reference, session=session)

    pulled = mlkit.pull(reference, filters=["datasets"], session=other)

    assert pulled.is_partial
    assert pulled.referrers == 2
    assert [found.digest for found in other.layout.referrers(other.local(Reference.parse(reference)))] == [
        signatures[0]
    ]


def test_referrers_that_cannot_be_had_leave_the_tag_alone_and_say_how_to_go_without(
    project: Path, server: SimulatedRegistry, session: Session, other: Session
) -> None:
    reference = f"{server.host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    sign(session, reference)
    mlkit.push(reference, session=session)
    del server.repository("team/digits").blobs[str(Digest.of(b"a note"))]

    with pytest.raises(NotFoundError, match=str(Digest.of(b"a note"))) as caught:
        mlkit.pull(reference, session=other)

    assert "--no-referrers" in (caught.value.hint or "")
    assert other.layout.names() == {}
    assert mlkit.pull(reference, referrers=False, session=other).referrers == 0


def test_a_push_tells_where_its_tag_was(project: Path, host: str, session: Session) -> None:
    reference = f"{host}/team/digits:1.2"
    old = mlkit.pack(project, tag=reference, session=session)
    first = mlkit.push(reference, session=session)
    (project / "README.md").write_text("# Another\n")
    new = mlkit.pack(project, tag=reference, session=session)

    rehearsed = mlkit.push(reference, dry_run=True, session=session)
    second = mlkit.push(reference, session=session)
    third = mlkit.push(reference, session=session)

    assert first.replaced is None
    assert rehearsed.replaced == second.replaced == old.digest
    assert third.replaced is None
    assert remote_digest(session, reference) == new.digest


def test_a_push_under_a_condition_moves_the_tag_from_there_and_from_nowhere_else(
    project: Path, host: str, session: Session
) -> None:
    reference = f"{host}/team/digits:1.2"
    old = mlkit.pack(project, tag=reference, session=session).digest
    mlkit.push(reference, session=session)
    (project / "README.md").write_text("# Another\n")
    new = mlkit.pack(project, tag=reference, session=session).digest

    mlkit.push(reference, if_match=old, session=session)
    again = mlkit.push(reference, if_match=str(old), session=session)
    (project / "README.md").write_text("# A third\n")
    mlkit.pack(project, tag=reference, session=session)
    with pytest.raises(ConflictError, match=f"points at {new} .expected {old}"):
        mlkit.push(reference, if_match=old, session=session)

    assert again.replaced is None, "the tag was there already, as after a first try whose answer got lost"
    assert remote_digest(session, reference) == new


def test_a_condition_that_does_not_hold_is_found_before_any_byte_moves(
    project: Path, server: SimulatedRegistry, session: Session
) -> None:
    reference = f"{server.host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)

    with pytest.raises(ConflictError, match="there is no such tag"):
        mlkit.push(reference, if_match=Digest.of(b"old"), session=session)

    assert server.received_bytes() == 0


def test_a_tag_that_moves_during_a_push_is_left_where_it_is(
    project: Path, server: SimulatedRegistry, session: Session
) -> None:
    reference = f"{server.host}/team/digits:1.2"
    old = mlkit.pack(project, tag=reference, session=session).digest
    mlkit.push(reference, session=session)
    theirs = push_manifest(session.registry(Reference.parse(reference)), b"theirs").descriptor.digest
    (project / "README.md").write_text("# Another\n")
    mlkit.pack(project, tag=reference, session=session)

    def somebody_is_quicker(_: Request) -> None:
        server.repository("team/digits").tags["1.2"] = str(theirs)

    server.answer("POST .*/blobs/uploads/", somebody_is_quicker)

    with pytest.raises(ConflictError, match=f"points at {theirs} .expected {old}"):
        mlkit.push(reference, if_match=old, session=session)

    assert remote_digest(session, reference) == theirs


def test_a_tag_that_is_there_already_is_not_written_again(
    project: Path, server: SimulatedRegistry, session: Session
) -> None:
    reference = f"{server.host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    mlkit.push(reference, session=session)
    server.requests.clear()

    mlkit.push(reference, session=session)

    assert server.lines("(PUT|POST|PATCH) .*") == []


def test_a_copy_to_another_registry_is_the_same_with_its_signatures_and_leaves_nothing_here(
    project: Path, host: str, second: str, session: Session, other: Session
) -> None:
    source, destination = f"{host}/team/digits:1.2", f"{second}/prod/digits:9"
    packed = mlkit.pack(project, tag=source, session=session)
    signatures = sign(session, source)
    mlkit.push(source, session=session)
    before = tree(other.layout.root)

    rehearsed = mlkit.copy(source, destination, dry_run=True, session=other)
    copied = mlkit.copy(source, destination, session=other)
    again = mlkit.copy(source, destination, session=other)

    assert remote_digest(other, destination) == copied.digest == packed.digest
    assert copied.reference == destination
    assert tuple(referrers(other, destination)) == signatures
    assert rehearsed.moved_bytes == copied.moved_bytes > copied.size
    assert again.moved_bytes == 0
    assert tree(other.layout.root) == before


@pytest.mark.parametrize(
    ("source", "destination", "named"),
    [
        ("digits:1.2", "copied/digits", "copied/digits:1.2"),
        ("digits:1.2", "copied/digits:new", "copied/digits:new"),
        ("digits@{digest}", "copied/digits", "copied/digits@{digest}"),
        ("digits@{digest}", "copied/digits:new", "copied/digits:new"),
        ("digits:1.2@{digest}", "copied/digits@{digest}", "copied/digits:1.2"),
    ],
    ids=["tag-of-source", "own-tag", "no-tag", "tag-for-a-digest", "pinned"],
)
def test_the_tag_of_a_copy(
    source: str, destination: str, named: str, project: Path, server: SimulatedRegistry, session: Session
) -> None:
    packed = mlkit.pack(project, tag=f"{server.host}/digits:1.2", session=session)
    mlkit.push(f"{server.host}/digits:1.2", session=session)
    source, destination, named = (
        f"{server.host}/{text}".format(digest=packed.digest) for text in (source, destination, named)
    )

    copied = mlkit.copy(source, destination, session=session)

    assert copied.reference == named
    assert remote_digest(session, named) == packed.digest
    assert list(server.repository("copied/digits").tags) == ([named.rpartition(":")[2]] if "@" not in named else [])


def test_a_copy_within_one_registry_mounts(project: Path, server: SimulatedRegistry, session: Session) -> None:
    source = f"{server.host}/team/digits:1.2"
    (project / "model/weights.safetensors").write_bytes(os.urandom(3 * MIB))
    mlkit.pack(project, tag=source, session=session)
    mlkit.push(source, session=session)
    server.requests.clear()

    copied = mlkit.copy(source, f"{server.host}/prod/digits", session=session)

    assert server.sent_bytes("GET .*/blobs/.*") == 0
    assert server.received_bytes("(PUT|PATCH) .*/blobs/.*") == 0
    assert copied.moved_bytes < MIB
    assert server.repository("prod/digits").blobs.keys() == server.repository("team/digits").blobs.keys()


def test_a_copy_brings_a_whole_index(server: SimulatedRegistry, second: str, session: Session) -> None:
    repository = session.registry(Reference.parse(f"{server.host}/team/both:1"))
    children = [push_manifest(repository, layer).descriptor for layer in (b"one", b"two")]
    of_child = push_manifest(repository, b"about one", subject=children[0]).descriptor
    index = push_index(repository, *children)
    repository.tag(index, "1")

    copied = mlkit.copy(f"{server.host}/team/both:1", f"{second}/team/both:1", session=session)

    target = session.registry(Reference.parse(f"{second}/team/both"))
    assert copied.digest == index.digest
    assert [target.exists(child) for child in children] == [True, True]
    assert [found.digest for found in target.referrers(children[0])] == [of_child.digest]


def test_a_copy_of_bytes_that_are_not_what_was_promised_names_nothing(
    project: Path, server: SimulatedRegistry, second: str, session: Session
) -> None:
    source = f"{server.host}/team/digits:1.2"
    mlkit.pack(project, tag=source, session=session)
    mlkit.push(source, session=session)
    blobs = server.repository("team/digits").blobs
    weights = next(digest for digest, content in blobs.items() if content == WEIGHTS)
    blobs[weights] = b"W" * 2000

    with pytest.raises(IntegrityError, match=weights):
        mlkit.copy(source, f"{second}/team/digits", session=session)

    with pytest.raises(NotFoundError):
        remote_digest(session, f"{second}/team/digits:1.2")


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("digits:1.2", "{host}/copied:1", "digits:1.2: no registry host"),
        ("{host}/team/digits:1.2", "copied:1", "copied:1: no registry host"),
        ("{host}/team/digits:1.2", "{host}/copied@sha256:" + "0" * 64, "has another digest"),
    ],
    ids=["local-source", "local-destination", "another-digest"],
)
def test_what_cannot_be_copied(
    source: str, destination: str, said: str, project: Path, server: SimulatedRegistry, session: Session
) -> None:
    mlkit.pack(project, tag=f"{server.host}/team/digits:1.2", session=session)
    mlkit.push(f"{server.host}/team/digits:1.2", session=session)

    with pytest.raises(UsageError, match=said):
        mlkit.copy(source.format(host=server.host), destination.format(host=server.host), session=session)


def test_files_are_counted_by_the_entry_whose_path_is_nearest() -> None:
    entries = [
        EntryRecord(name, Class.CODE, None, path, None, None)
        for name, path in (("code[0]", "."), ("model", "m"), ("model.parts[0]", "m/tok/t.json"), ("docs[0]", "d"))
    ]
    files = [("Kitfile", 1), ("m/w.bin", 10), ("m/tok/t.json", 100), ("m/tok/u.json", 1000), ("mm/x", 5)]

    assert by_entry(entries, files) == (
        UnpackedEntry("code[0]", ".", 2, 6),
        UnpackedEntry("model", "m", 2, 1010),
        UnpackedEntry("model.parts[0]", "m/tok/t.json", 1, 100),
    )
    assert by_entry(entries[1:], [("x/y", 2), ("d/a", 3)]) == (
        UnpackedEntry("docs[0]", "d", 1, 3),
        UnpackedEntry(None, ".", 1, 2),
    )
    assert by_entry([], []) == ()
