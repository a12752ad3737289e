"""How one registry is reached: scheme, trust, proxy, patience."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import httpx

_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Patience in seconds (threats.md, rows F20 and 41)."""

    connect: float = 10
    """For all addresses of a host together; as long again for TLS."""
    answer: float = 60
    """From a request without a body to the head of its response."""
    commit: float = 300
    """The same for a request with a body: some registries copy a whole blob before they answer."""
    stall: float = 30
    """Without 1 KiB/s on average over this time, a transfer counts as dead."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What it takes to speak to one registry. TLS unless `plain_http`: no host is special, loopback neither."""

    host: str
    """`host[:port]`."""
    plain_http: bool = False
    ca_files: tuple[Path, ...] = ()
    """PEM files that are trusted beside the system's certificates."""
    cert: Path | None = None
    key: Path | None = None
    """Of the client certificate; None where `cert` holds both."""
    insecure: bool = False
    """Certificates are not checked."""
    proxy: str | None = field(default=None, repr=False)
    """`http://[user:password@]host:port`, for what is spoken to over TLS; loopback is always reached directly."""
    http_proxy: str | None = field(default=None, repr=False)
    """The same for what is spoken to without."""
    no_proxy: str | None = None
    """Hosts, domains, addresses and networks that are reached directly, separated by commas; `*` is all of them."""
    user_agent: str = "mlkit"
    namespace: str | None = None
    """Of a mirror, the registry whose content is asked for: sent as `ns`, as containerd does, for caches of several."""
    timeouts: Timeouts = Timeouts()

    @property
    def base_url(self) -> httpx.URL:
        """Where the API starts: `scheme://host[:port]/v2/`."""
        scheme = "http" if self.plain_http else "https"
        return httpx.URL(f"{scheme}://{_API_HOSTS.get(self.host, self.host)}/v2/")
