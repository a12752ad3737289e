"""Lists: tags, repositories, referrers; in pages (OCI distribution, "Listing Tags", "Listing Referrers")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mlkit.content.graph import described_referrer, document
from mlkit.content.layout import Layout
from mlkit.server import names
from mlkit.server.refusal import Code, Refusal
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST, STATE_HEADER

PAGE_LIMIT = 1000
"""Entries in one answer, whatever `n` asks for; keeps an index of referrers well below 4 MiB."""

_Entry = TypeVar("_Entry")


class Listings:
    """The endpoints that list."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def version(self, _request: Request) -> Response:
        """GET `/v2/`: that this is a registry, and what state its content is in, for whoever looks again and again."""
        headers = {"Docker-Distribution-API-Version": "registry/2.0", STATE_HEADER: self._layout.state()}
        return JSONResponse({}, headers=headers)

    def tags(self, request: Request) -> Response:
        """GET `/v2/<name>/tags/list`, in ASCII order."""
        repository = names.repository(request)
        served = self._served()
        if repository not in served:
            raise Refusal(Code.NAME_UNKNOWN, f"no repository {repository}")
        page, headers = _page(request, sorted(served[repository]), key=str)
        return JSONResponse({"name": repository, "tags": page}, headers=headers)

    def catalog(self, request: Request) -> Response:
        """GET `/v2/_catalog`: Docker's list of repositories, which the OCI specification only reserves."""
        page, headers = _page(request, sorted(self._served()), key=str)
        return JSONResponse({"repositories": page}, headers=headers)

    def referrers(self, request: Request) -> Response:
        """GET `/v2/<name>/referrers/<digest>`: an index, empty where nothing refers to the digest."""
        names.repository(request)
        # Referrers may come before their subject: its size and type need not be known.
        subject = Descriptor(OCI_MANIFEST, names.digest(request.path_params["digest"]), 0)
        kind = request.query_params.get("artifactType")
        found = [described_referrer(document(self._layout, desc)) for desc in self._layout.referrers(subject)]
        matching = [desc for desc in found if kind is None or desc.artifact_type == kind]
        page, headers = _page(request, sorted(matching, key=_by_digest), key=_by_digest)
        if kind is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [desc.render() for desc in page]}
        return JSONResponse(body, headers=headers, media_type=OCI_INDEX)

    def _served(self) -> dict[str, list[str]]:
        """The tags of each repository."""
        served: dict[str, list[str]] = {}
        for name in self._layout.names():
            found = names.split(name)
            if found is not None:
                served.setdefault(found[0], []).append(found[1])
        return served


def _page(
    request: Request, entries: Sequence[_Entry], *, key: Callable[[_Entry], str]
) -> tuple[list[_Entry], dict[str, str]]:
    """The entries after `last`, at most `n`, and the headers that lead to the next page. Raises: Refusal."""
    text = request.query_params.get("n", str(PAGE_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise Refusal(Code.UNSUPPORTED, f"n={ascii(text)[:40]} is not a number of entries", status=400)
    last = request.query_params.get("last")
    rest = [entry for entry in entries if last is None or key(entry) > last]
    page = rest[: min(int(text), PAGE_LIMIT)]
    if not page or len(page) == len(rest):
        return page, {}
    query = {**request.query_params, "n": text, "last": key(page[-1])}
    return page, {"Link": f'<{request.url.path}?{urlencode(query)}>; rel="next"'}


def _by_digest(desc: Descriptor) -> str:
    return str(desc.digest)
