"""Lists of tags that come in pages, without end or from elsewhere."""

from __future__ import annotations

import json

import pytest
from tests.content.contract import push_manifest
from tests.registry.conftest import Connect
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.errors import (
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
)
from mlkit.registry.store import RegistryStore
from mlkit.spec.limits import ListLimits


def serve_tags(server: SimulatedRegistry, body: object, headers: dict[str, str] | None = None) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    server.answer("GET .*/tags/list", lambda _: Answer(200, raw, headers or {}))


def test_tags_come_in_pages(server: SimulatedRegistry, store: RegistryStore) -> None:
    manifest = push_manifest(store, b"layer")
    for number in range(7):
        store.tag(manifest.descriptor, f"v{number}")
    server.page_size = 3

    assert list(store.tags()) == [f"v{number}" for number in range(7)]
    assert len(server.lines("GET .*/tags/list")) == 3


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ("<http://other.example/v2/team/digits/tags/list?last=a>; rel=next", IntegrityError),
        ('<ftp://x/y>; rel="next"', NetworkError),
        ('</v2/team/digits/tags/list?n=1000>; rel="next"', LimitError),
    ],
    ids=["elsewhere", "ftp", "itself"],
)
def test_f06_a_next_page_is_on_the_same_host_and_a_new_one(
    link: str, error: type[MlkitError], server: SimulatedRegistry, store: RegistryStore
) -> None:
    serve_tags(server, {"tags": ["a"]}, {"Link": link})

    with pytest.raises(error):
        list(store.tags())

    assert len(server.requests) == 1


def test_a_page_that_was_there_before_ends_the_list(server: SimulatedRegistry, store: RegistryStore) -> None:
    again = {"Link": '</v2/team/digits/tags/list?last=a>; rel="next"'}
    server.answer("GET .*/tags/list", lambda _: Answer(200, b'{"tags":["a"]}', again))

    with pytest.raises(LimitError, match="do not end"):
        list(store.tags())

    assert len(server.requests) == 2


def test_pages_beyond_the_limit_are_not_asked_for(server: SimulatedRegistry, connect: Connect) -> None:
    def serve(count: int) -> None:
        server.requests.clear()
        server.rules.clear()
        pages = iter(range(1, count + 1))

        def page(_: Request) -> Answer:
            number = next(pages)
            link = {"Link": f'</v2/team/digits/tags/list?last={number}>; rel="next"'} if number < count else {}
            return Answer(200, b'{"tags":["a"]}', link)

        server.answer("GET .*/tags/list", page)

    store = connect(server.host, limits=ListLimits(pages=10)).repository("team/digits")
    serve(10)
    assert list(store.tags()) == ["a"]
    serve(11)
    with pytest.raises(LimitError, match="do not end after 10") as refused:
        list(store.tags())

    assert len(server.requests) == 10
    assert "`pages`" in (refused.value.hint or "")


@pytest.mark.parametrize("link", ["garbage", '<>; rel="next"', '</x>; rel="prev"', "<" * 10_000, ""])
def test_a_link_that_is_none_ends_the_list(link: str, server: SimulatedRegistry, store: RegistryStore) -> None:
    serve_tags(server, {"tags": ["a"]}, {"Link": link})

    assert list(store.tags()) == ["a"]


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ({"tags": None}, []),
        ({"name": "other/repository"}, []),
        ({"tags": ["b", "a", "b"]}, ["b", "a"]),
        ({"tags": ["../x", "a/b", "", "x" * 129, 7, None, ["a"], "a\u001b", "ok"]}, ["ok"]),
    ],
    ids=["null", "missing", "unsorted", "hostile"],
)
def test_f17_tags_are_looked_at_one_by_one(
    body: object, tags: list[str], server: SimulatedRegistry, store: RegistryStore
) -> None:
    serve_tags(server, body)

    assert list(store.tags()) == tags


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags":"a"}', b'{"tags":{}}', b"\xff"])
def test_what_is_no_list_of_tags_is_refused(body: bytes, server: SimulatedRegistry, store: RegistryStore) -> None:
    serve_tags(server, body)

    with pytest.raises(IntegrityError):
        list(store.tags())


def test_there_are_not_more_than_so_many_tags(server: SimulatedRegistry, connect: Connect) -> None:
    store = connect(server.host, limits=ListLimits(tags=5)).repository("team/digits")
    serve_tags(server, {"tags": [f"v{number}" for number in range(5)]})
    assert len(list(store.tags())) == 5
    server.rules.clear()
    serve_tags(server, {"tags": [f"v{number}" for number in range(6)]})

    with pytest.raises(LimitError, match="more than 5 tags"):
        list(store.tags())
