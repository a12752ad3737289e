"""One request to a URL that a person named: a probe of a service, a hook. It is no registry, and sees no password."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from mlkit.errors import NetworkError, UnsafeError, UsageError
from mlkit.registry.connection import Connection
from mlkit.registry.origin import Origin, is_dialable
from mlkit.registry.proxy import Proxy, is_direct
from mlkit.registry.redaction import printable, shown_url
from mlkit.registry.tls import tls_context

_BODY_LIMIT = 64 * 1024  # bytes of an answer that are read; what counts is its status
_HOPS = 5


@dataclass(frozen=True, slots=True)
class Visited:
    """An answer."""

    status: int
    body: bytes
    """Its beginning."""

    @property
    def is_good(self) -> bool:
        """Whether it says that all is well."""
        return 200 <= self.status < 300


def visit(
    url: str,
    connection: Connection,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout: float,
) -> Visited:
    """Ask, with the certificates and the proxy of `connection`; `timeout` is for all of it, in seconds.

    A redirect is followed to the same scheme, host and port, and only for GET.
    Raises: UsageError for what is no http(s) URL; UnsafeError for a redirect to another place; NetworkError.
    """
    target = _parse(url)
    deadline = time.monotonic() + timeout
    proxy = _proxy(connection, target)
    sent = httpx.Headers({"User-Agent": connection.user_agent, **(headers or {})}, encoding="utf-8")
    # Reading the system's certificates takes longer than most probes, and a redirect leads to no other scheme.
    verify = tls_context(connection) if target.scheme == "https" else False
    with httpx.Client(verify=verify, trust_env=False, follow_redirects=False, proxy=proxy) as client:
        for _ in range(_HOPS + 1):
            try:
                answer = _ask(client, method, target, body, sent, deadline)
            except httpx.TimeoutException as error:
                raise NetworkError(f"{shown_url(target)}: no answer within {timeout:g} s") from error
            except UnicodeError as error:  # of httpx, which looks at a Location before we do
                raise NetworkError(f"{shown_url(target)}: redirects to what is no host name") from error
            except httpx.HTTPError as error:
                raise NetworkError(f"{shown_url(target)}: {printable(str(error), limit=200)}") from error
            status, raw, location = answer
            if not 300 <= status < 400 or method != "GET" or location is None:
                return Visited(status, raw)
            target = _following(target, location)
    raise NetworkError(f"{shown_url(target)}: more than {_HOPS} redirects")


def check_url(url: str) -> None:
    """Raises: UsageError for what is no http(s) URL, or has a password in it."""
    _parse(url)


def _ask(
    client: httpx.Client, method: str, url: httpx.URL, body: bytes, headers: httpx.Headers, deadline: float
) -> tuple[int, bytes, str | None]:
    found = bytearray()
    left = max(deadline - time.monotonic(), 0.001)
    # httpx's timeouts are for each read; one byte at a time would outlast them all.
    with client.stream(method, url, content=body or None, headers=headers, timeout=left) as response:
        for block in response.iter_raw():
            found += block[: _BODY_LIMIT - len(found)]
            if len(found) >= _BODY_LIMIT:
                break
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer does not end", request=response.request)
        return response.status_code, bytes(found), response.headers.get("Location")


def _following(url: httpx.URL, location: str) -> httpx.URL:
    target = url.join(location)
    if Origin.of(target) != Origin.of(url):
        raise UnsafeError(f"{shown_url(url)}: redirects to another place, {shown_url(target)}, where nobody sent us")
    return target


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(f"{ascii(url)[:120]} is not a URL") from error
    if parsed.scheme not in ("http", "https") or not _has_place(parsed):
        raise UsageError(f"{ascii(url)[:120]} is not an http(s) URL")
    if parsed.userinfo:
        raise UsageError(f"{shown_url(parsed)}: a URL with credentials in it is in every list of processes")
    return parsed


def _has_place(url: httpx.URL) -> bool:
    host = url.raw_host.decode("ascii")
    try:
        host.encode("idna")  # as whoever asks for its address does
    except UnicodeError:
        return False
    # The C library takes ports modulo 65536.
    return is_dialable(host) and (url.port is None or 0 < url.port < 65536)


def _proxy(connection: Connection, url: httpx.URL) -> httpx.Proxy | None:
    text = connection.http_proxy if url.scheme == "http" else connection.proxy
    if text is None or is_direct(Origin.of(url), connection.no_proxy):
        return None
    found = Proxy.parse(text)
    headers = {"Proxy-Authorization": found.authorization.decode("ascii")} if found.authorization else {}
    return httpx.Proxy(f"http://{found.host}:{found.port}", headers=headers)
