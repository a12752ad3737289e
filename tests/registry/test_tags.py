"""Lists of tags that come in pages, without end or from elsewhere."""

from __future__ import annotations

import json

import pytest
from tests.content.contract import push_manifest
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer, Request

from mlkit.errors import (
    IntegrityError,
    LimitError,
    MlkitError,
    NetworkError,
)
from mlkit.registry.store import RegistryStore


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


def test_pages_without_end_come_to_an_end(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.tags.PAGE_LIMIT", 10)
    pages = iter(range(10**6))

    def page(_: Request) -> Answer:
        link = f'</v2/team/digits/tags/list?last={next(pages)}>; rel="next"'
        return Answer(200, b'{"tags":["a"]}', {"Link": link})

    server.answer("GET .*/tags/list", page)

    with pytest.raises(LimitError, match="do not end"):
        list(store.tags())

    assert len(server.requests) == 10


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


def test_there_are_not_more_than_so_many_tags(
    server: SimulatedRegistry, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.tags._TAG_LIMIT", 5)
    serve_tags(server, {"tags": [f"v{number}" for number in range(6)]})

    with pytest.raises(LimitError):
        list(store.tags())
