"""Origins, and which of them a registry may send us to. Nothing here does I/O."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Self

import httpx

from mlkit.errors import NetworkError
from mlkit.registry.redaction import shown_url

_PORTS = {"http": 80, "https": 443}


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
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host.strip("[]"))
        except ValueError:
            return False
        return not address.is_global

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


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
    if target.scheme not in _PORTS or not target.host:
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
