"""The tags of a repository, page by page (OCI distribution, "Listing Tags")."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx

from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.registry.auth import Scope
from mlkit.registry.origin import Origin, next_hop
from mlkit.registry.wire import Call, Wire
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.limits import raised_by
from mlkit.spec.reference import is_tag

PAGE_SIZE = 1000
"""Entries of a list that are asked for at once."""
_NEXT = re.compile(r'<([^<>]{1,8192})>\s*;[^,<]{0,200}?\brel="?next"?', re.ASCII)


def list_tags(wire: Wire, repository: str) -> Iterator[str]:
    """Raises: NotFoundError; IntegrityError for what is no list; LimitError for lists without end."""
    what = f"{wire.host}/{repository}"
    call = Call("GET", wire.url(f"{repository}/tags/list", {"n": str(PAGE_SIZE)}), Scope(repository), what)
    seen: set[str] = set()
    for _, raw in pages(wire, call):
        value = parse_object(raw, what=f"{what}: tags").get("tags")
        # null is how registries written in Go say that there are none
        if value is not None and not isinstance(value, list):
            raise IntegrityError(f"{what}: the tags are not a list")
        for tag in value or ():
            if not isinstance(tag, str) or not is_tag(tag) or tag in seen:
                continue
            if len(seen) >= wire.limits.tags:
                raise LimitError(f"{what}: more than {wire.limits.tags} tags", hint=raised_by("tags"))
            seen.add(tag)
            yield tag


def pages(
    wire: Wire, call: Call, *, absent: frozenset[int] = frozenset({404})
) -> Iterator[tuple[httpx.Headers, bytes]]:
    """Headers and body of each page; the statuses `absent` mean that there is no such list.

    Raises: NotFoundError; IntegrityError for a next page on another host; LimitError for pages without end.
    """
    visited: set[str] = set()
    url: httpx.URL | None = call.url
    while url is not None:
        if str(url) in visited:
            raise LimitError(f"{call.what}: the registry's pages do not end")
        if len(visited) >= wire.limits.pages:
            raise LimitError(
                f"{call.what}: the registry's pages do not end after {wire.limits.pages}", hint=raised_by("pages")
            )
        visited.add(str(url))
        answer = wire.document(Call("GET", url, call.scope, call.what, call.headers), limit=MANIFEST_LIMIT)
        if answer.status in absent:
            raise NotFoundError(f"{call.what}: no such repository")
        if answer.status != 200:
            raise wire.refusal(answer, call.what)
        yield answer.headers, answer.raw
        url = _following(wire, url, answer.headers, call.what)


def _following(wire: Wire, url: httpx.URL, headers: httpx.Headers, what: str) -> httpx.URL | None:
    found = _NEXT.search(headers.get("Link", "")[:16384])
    if found is None:
        return None
    target = next_hop(url, found[1], registry=wire.origin, what=what)
    if Origin.of(target) != wire.origin:
        raise IntegrityError(f"{what}: {wire.host} has its next page on another host")
    return target
