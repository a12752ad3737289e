"""Addresses of things outside of kits, as they may stand in a kit that others read."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

_WITH_HOST = ("http", "https", "s3", "gs")


def public_address(uri: str) -> str | None:
    """A URI without user and password, and without the query of http(s), s3 and gs, where presigned URLs have tokens.

    None for what cannot be read as a URI: what is secret in it nobody can tell.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    netloc = parts.netloc.rpartition("@")[2]
    if parts.scheme not in _WITH_HOST:
        return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment if parts.query else ""))
    # curl and browsers take https:/user:password@host for an address too, and here it has no host.
    return urlunsplit((parts.scheme, netloc, parts.path, "", "")) if netloc else None
