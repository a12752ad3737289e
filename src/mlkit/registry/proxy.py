"""Which proxy, if any, and the way through it."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

import httpx

from mlkit.errors import UsageError
from mlkit.registry.origin import Origin, is_dialable, parse_address


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """An HTTP proxy; its password is in `authorization` and in no text that anyone sees."""

    host: str
    port: int
    authorization: bytes | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `http://[user:password@]host:port`. Raises: UsageError, without showing the password."""
        try:
            url = httpx.URL(text if "://" in text else f"http://{text}")
        except httpx.InvalidURL as error:
            raise UsageError("the proxy's address is not a URL", hint="it reads http://proxy.example:3128") from error
        host = url.raw_host.decode("ascii")
        if url.scheme != "http" or not is_dialable(host):
            raise UsageError(
                f"a proxy at {url.scheme}://{host[:100]} cannot be used (expected http and a host)",
                hint="it reads http://proxy.example:3128",
            )
        authorization = None
        if url.userinfo:
            user, _, password = url.userinfo.decode("utf-8").partition(":")
            pair = f"{unquote(user)}:{unquote(password)}".encode()
            authorization = b"Basic " + base64.b64encode(pair)
        return cls(host, url.port or 80, authorization)

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def is_direct(origin: Origin, no_proxy: str | None) -> bool:
    """Whether to go around the proxy: for loopback always, as Go's clients do, else where `no_proxy` says so."""
    if origin.is_loopback:
        return True
    return any(_matches(origin, rule.strip().lower()) for rule in (no_proxy or "").split(",") if rule.strip())


def _matches(origin: Origin, rule: str) -> bool:
    if rule == "*":
        return True
    address = parse_address(origin.host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(rule.strip("[]"), strict=False)
        except ValueError:
            pass  # a name, or an address with a port
    name, colon, port = rule.rpartition(":")
    if colon and port.isdigit():
        if int(port) != origin.port:
            return False
        rule = name.strip("[]")
    if address is not None:
        return parse_address(rule) == address
    bare = rule.removeprefix("*").removeprefix(".")
    return origin.host == bare or origin.host.endswith(f".{bare}")
