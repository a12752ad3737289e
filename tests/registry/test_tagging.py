"""A tag in a registry, and who moves it from where."""

from __future__ import annotations

import pytest
from tests.content.contract import push_manifest
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.errors import ConflictError
from mlkit.registry.store import RegistryStore
from mlkit.spec.digest import Digest


@pytest.mark.parametrize("with_etags", [True, False], ids=["etags", "no-etags"])
def test_fault46_a_tag_that_somebody_else_has_moved_is_left_where_it_is(
    with_etags: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.with_etags = with_etags
    old, theirs, ours = (push_manifest(store, layer).descriptor for layer in (b"old", b"theirs", b"ours"))
    store.tag(old, "1.2")
    store.tag(theirs, "1.2")

    with pytest.raises(ConflictError, match=f"{theirs.digest}.*expected {old.digest}") as caught:
        store.tag(ours, "1.2", replacing=old.digest)

    assert store.tagged("1.2") == theirs.digest
    assert caught.value.exit_code == 9


def test_a_tag_that_moves_between_our_look_and_our_writing_is_not_written_over(
    server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.with_etags = True
    old, theirs, ours = (push_manifest(store, layer).descriptor for layer in (b"old", b"theirs", b"ours"))
    store.tag(old, "1.2")

    def somebody_is_quicker(request: Request) -> Answer | None:
        server.repository("team/digits").tags["1.2"] = str(theirs.digest)
        return None

    server.answer("PUT .*/manifests/1.2", somebody_is_quicker)

    with pytest.raises(ConflictError, match=str(theirs.digest)):
        store.tag(ours, "1.2", replacing=old.digest)

    assert store.tagged("1.2") == theirs.digest


def test_a_tag_that_is_where_it_was_expected_moves(server: SimulatedRegistry, store: RegistryStore) -> None:
    old, ours = (push_manifest(store, layer).descriptor for layer in (b"old", b"ours"))
    store.tag(old, "1.2")

    store.tag(ours, "1.2", replacing=old.digest)

    assert store.tagged("1.2") == ours.digest


def test_a_tag_that_is_not_there_is_not_where_it_was_expected(store: RegistryStore) -> None:
    ours = push_manifest(store, b"ours").descriptor

    with pytest.raises(ConflictError, match="there is no such tag"):
        store.tag(ours, "1.2", replacing=Digest.of(b"old"))

    assert store.tagged("1.2") is None


def test_an_answer_that_got_lost_is_no_conflict(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.with_etags = True
    old, ours = (push_manifest(store, layer).descriptor for layer in (b"old", b"ours"))
    store.tag(old, "1.2")

    def done_and_not_told(request: Request) -> Answer | None:
        server.repository("team/digits").tags["1.2"] = str(ours.digest)
        return Answer(503)

    server.answer("PUT .*/manifests/1.2", done_and_not_told, times=1)

    store.tag(ours, "1.2", replacing=old.digest)

    assert store.tagged("1.2") == ours.digest


def test_what_a_tag_points_at_is_told_whatever_it_is(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.answer("GET .*/manifests/1.2", lambda _: Answer(200, b"no manifest", {"Content-Type": "text/plain"}))

    assert store.tagged("1.2") == Digest.of(b"no manifest")
