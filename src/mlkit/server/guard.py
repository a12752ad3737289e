"""What may be asked at all: wrappers around an ASGI application that turn requests away before it sees them."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mlkit.server.refusal import Code, Refusal

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class ReadOnly:
    """Lets nothing through that could change the store."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _READING:
            refusal = Refusal(Code.DENIED, "this registry is read-only", status=405, headers={"Allow": "GET, HEAD"})
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


class OnlyHosts:
    """Lets only requests through that were sent to one of these host names, and no writes of a web page.

    A registry on loopback asks nobody who he is. A web page in the same person's browser could reach it under a name
    of its own that resolves to 127.0.0.1 (DNS rebinding), or post to it blindly from elsewhere.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], Headers(scope=scope))
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> Refusal | None:
        if _host(f"//{headers.get('host', '')}") not in self._hosts:
            return Refusal(
                Code.DENIED, f"this registry is not {ascii(headers.get('host', ''))[:120]}, but local", status=421
            )
        if method not in _READING and "origin" in headers and _host(headers["origin"]) not in self._hosts:
            return Refusal(Code.DENIED, "this registry takes nothing from web pages")
        return None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
