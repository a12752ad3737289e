"""Addresses of things outside of kits, as they may stand in a kit that others read."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def public_address(uri: str) -> str | None:
    """A URI without user and password, and without the query of http(s), s3 and gs, where presigned URLs have tokens.

    None for what cannot be read as a URI: what is secret in it nobody can tell.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    netloc = parts.netloc.rpartition("@")[2]
    query = "" if parts.scheme.lower() in ("http", "https", "s3", "gs") else parts.query
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment if query else ""))
