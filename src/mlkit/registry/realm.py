"""Which token server a registry may name, and which of them gets to see a password. Nothing here does I/O."""

from __future__ import annotations

import httpx

from mlkit.errors import AuthError
from mlkit.registry.origin import Origin, is_dialable, parse_address

_LIMIT = 2048  # characters of a realm
# Under the first, a third label names the party; under the second, neighbours belong to different people at any depth.
# The whole public suffix list would be a dependency that ages; a suffix that is missing here widens the circle from one
# registry to its operator's neighbours.
# fmt: off
_COUNTRY = frozenset((
    "co.uk", "org.uk", "ac.uk", "gov.uk", "com.au", "net.au", "org.au", "co.jp", "ne.jp", "or.jp", "co.nz",
    "co.in", "co.kr", "co.za", "com.br", "com.cn", "com.tr", "com.mx", "com.sg", "com.tw", "com.hk",
))
_SHARED = (
    "github.io", "gitlab.io", "azurecr.io", "azurewebsites.net", "amazonaws.com", "amazonaws.com.cn",
    "cloudfront.net", "appspot.com", "run.app", "web.app", "herokuapp.com", "vercel.app", "netlify.app",
    "pages.dev", "workers.dev", "fly.dev", "onrender.com", "jfrog.io", "cloudapp.net", "windows.net",
    "digitaloceanspaces.com", "ngrok.io", "ngrok.app",
)
# fmt: on


def checked_realm(text: str | None, registry: Origin, *, base: httpx.URL | None = None) -> httpx.URL:
    """The URL of a token server; `base` is where a redirect to it came from.

    Raises: AuthError for what is no absolute https URL (http where the registry itself is spoken to so), holds
    credentials, or lies in a private network that the registry is not part of.
    """
    refused = f"{registry.host}: its token server {(text or '')[:100]!a} is refused: "
    if not text or len(text) > _LIMIT:
        raise AuthError(refused + "no URL, or one that is too long")
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise AuthError(refused + "not a URL") from error
    if url.scheme not in ("http", "https") or not is_dialable(url.raw_host.decode("ascii")):
        raise AuthError(refused + "expected an absolute https URL")
    if url.scheme == "http" and registry.scheme != "http":
        raise AuthError(refused + "a password would travel unencrypted (expected https)")
    if url.userinfo:
        raise AuthError(refused + "it holds credentials")
    origin = Origin.of(url)
    is_near = origin.host == registry.host or (origin.is_loopback and registry.is_loopback)
    if origin.is_internal and not is_near:
        raise AuthError(refused + "it lies in a private network")
    return url.copy_with(fragment=None)


def may_see_credentials(realm: Origin, registry: Origin) -> bool:
    """Whether a registry's credentials may go to this token server; otherwise it is asked for an anonymous token."""
    if realm.host == registry.host or (realm.is_loopback and registry.is_loopback):
        return True
    if parse_address(realm.host) or parse_address(registry.host):
        return False  # addresses have no domain
    return _domain(realm.host) == _domain(registry.host) is not None


def _domain(host: str) -> str | None:
    """The part of a host name that one party holds, or None where that cannot be told."""
    host = host.rstrip(".")
    if any(host == suffix or host.endswith(f".{suffix}") for suffix in _SHARED):
        return None
    labels = host.split(".")
    count = 3 if ".".join(labels[-2:]) in _COUNTRY else 2
    return ".".join(labels[-count:]) if len(labels) >= count else None
