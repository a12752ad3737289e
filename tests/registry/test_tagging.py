"""A tag in a registry, and who moves it from where."""

from __future__ import annotations

import pytest
from tests.content.contract import push_manifest
from tests.registry.conftest import Connect
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.errors import ConflictError
from mlkit.registry.connection import Connection
from mlkit.registry.host import Registry
from mlkit.registry.retry import RetryPolicy
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


@pytest.mark.parametrize("with_etags", [True, False], ids=["etags", "no-etags"])
def test_a_swap_moves_a_tag_from_where_it_is_expected_and_from_nowhere_else(
    with_etags: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.with_etags = with_etags
    one, two, three = (push_manifest(store, layer).descriptor for layer in (b"one", b"two", b"three"))

    assert not store.swap(one, "channel", expected=two.digest)
    assert store.tagged("channel") is None
    assert store.swap(one, "channel", expected=None)
    assert not store.swap(two, "channel", expected=None)
    assert store.swap(two, "channel", expected=one.digest)
    assert not store.swap(three, "channel", expected=one.digest)

    assert store.tagged("channel") == two.digest


@pytest.mark.parametrize("is_first", [True, False], ids=["nothing-there", "something-there"])
def test_a_swap_that_somebody_else_makes_at_the_same_moment_succeeds_for_one(
    is_first: bool, server: SimulatedRegistry, store: RegistryStore
) -> None:
    server.with_etags = True
    old, theirs, ours = (push_manifest(store, layer).descriptor for layer in (b"old", b"theirs", b"ours"))
    if not is_first:
        store.tag(old, "channel")

    def somebody_is_quicker(request: Request) -> Answer | None:
        server.repository("team/digits").tags["channel"] = str(theirs.digest)
        return None

    server.answer("PUT .*/manifests/channel", somebody_is_quicker)

    assert not store.swap(ours, "channel", expected=None if is_first else old.digest)
    assert store.tagged("channel") == theirs.digest


def test_a_swap_whose_answer_got_lost_was_made(server: SimulatedRegistry, store: RegistryStore) -> None:
    server.with_etags = True
    ours = push_manifest(store, b"ours").descriptor

    def done_and_not_told(request: Request) -> Answer | None:
        server.repository("team/digits").tags["channel"] = str(ours.digest)
        return Answer(503)

    server.answer("PUT .*/manifests/channel", done_and_not_told, times=1)

    assert store.swap(ours, "channel", expected=None)


def test_a_swap_that_is_written_over_by_who_looked_before_was_not_made(
    server: SimulatedRegistry, connect: Connect
) -> None:
    """A registry without conditions: the other one's look was before our change, and its change comes after it."""
    registry = connect(server.host)
    store = registry.repository("team/digits")
    ours, theirs = (push_manifest(store, layer).descriptor for layer in (b"ours", b"theirs"))
    waits: list[float] = []

    def while_we_wait(seconds: float) -> None:
        waits.append(seconds)
        server.repository("team/digits").tags["channel"] = str(theirs.digest)

    policy = RetryPolicy(sleep=while_we_wait, random=lambda: 0.5)
    with Registry(Connection(server.host, plain_http=True), lambda _: None, retries=policy) as slow:
        assert not slow.repository("team/digits").swap(ours, "channel", expected=None)

    assert len(waits) == 1
    assert store.tagged("channel") == theirs.digest


def test_a_tag_is_expected_where_it_was_or_where_it_is_meant_to_be(store: RegistryStore) -> None:
    one, two, three = (push_manifest(store, layer).descriptor for layer in (b"one", b"two", b"three"))
    store.tag(two, "1.2")

    store.expect("1.2", one.digest, or_else=two.digest)
    store.expect("1.2", two.digest, or_else=one.digest)
    with pytest.raises(ConflictError, match=f"points at {two.digest}.*expected {one.digest}"):
        store.expect("1.2", one.digest, or_else=three.digest)
    with pytest.raises(ConflictError, match="there is no such tag"):
        store.expect("1.3", one.digest, or_else=three.digest)


def test_what_is_not_there_is_found_to_be_nothing(store: RegistryStore) -> None:
    one = push_manifest(store, b"one").descriptor
    store.tag(one, "1.2")

    assert store.find("1.2") == one
    assert store.find("1.3") is None
    assert store.find(str(Digest.of(b"absent"))) is None
