"""Origins, and which of them a registry may send us to. Nothing here does I/O."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple, Self

import httpx

from mlkit.errors import NetworkError
from mlkit.registry.redaction import shown_url

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.-]{1,255}|[0-9A-Fa-f:.]{2,45}")


class Origin(NamedTuple):
    """Scheme, host, port: credentials for one are for no other."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Self:
        """The origin of an http or https URL."""
        return cls(url.scheme, url.raw_host.decode("ascii").lower(), url.port or _PORTS.get(url.scheme, 0))

    @property
    def is_internal(self) -> bool:
        """Whether the host is this machine or an address literal that only a private network knows."""
        address = parse_address(self.host)
        return _is_localhost(self.host) if address is None else not address.is_global

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        address = parse_address(self.host)
        return _is_localhost(self.host) if address is None else address.is_loopback

    @property
    def url(self) -> str:
        """`scheme://host`, with the port where the scheme does not tell it."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as in a Host header; the port is left out where the scheme tells it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is a literal of; None for a name.

    Reads also what only the C library takes for an address (`2130706433`, `0x7f.1`): it would dial 127.0.0.1.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        if not (last.isdigit() or last.startswith("0x")):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_dialable(host: str) -> bool:
    """Whether `host` is a name or an address; URLs may hold other things in its place.

    A name that claims to be an international one (`xn--`) and is none fails when httpx makes a request of it.
    """
    if _HOST.fullmatch(host) is None:
        return False
    try:
        return bool(httpx.URL(scheme="http", host=host).host)
    except (UnicodeError, httpx.InvalidURL):
        return False


def next_hop(source: httpx.URL, location: str | None, *, registry: Origin, what: str) -> httpx.URL:
    """Where a Location or redirect leads, seen from `source` (RFC 3986, section 5).

    Raises: NetworkError for what leads nowhere, from https to http, or from a public registry into a private network.
    """
    if not location:
        raise NetworkError(f"{what}: the registry named no Location to go on with")
    try:
        # A fragment is for readers of hypertext; sent on, it would end up in the path of some servers.
        target = source.join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise NetworkError(f"{what}: the registry sent a malformed Location {ascii(location)[:100]}") from error
    if target.scheme not in _PORTS or not is_dialable(target.raw_host.decode("ascii")):
        raise NetworkError(f"{what}: the registry leads to {ascii(str(target))[:100]} (expected an https URL)")
    if target.userinfo:
        raise NetworkError(f"{what}: the registry leads to a URL with credentials in it")
    origin = Origin.of(target)
    if origin.scheme == "http" and (source.scheme == "https" or registry.scheme == "https"):
        raise NetworkError(
            f"{what}: the registry leads from https to {shown_url(target)}, which is not encrypted",
            hint="a registry behind a TLS proxy must be told its outer address (X-Forwarded-Proto)",
        )
    if origin.is_internal and origin.host != registry.host and not registry.is_internal:
        raise NetworkError(f"{what}: the registry leads into a private network, to {shown_url(target)}")
    return target


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".")
    return name == "localhost" or name.endswith(".localhost")
