"""What people may see of URLs and of a registry's words: no secrets, no control characters. Nothing here does I/O."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable

import httpx

# Everything else in a query may be a signature (X-Amz-Signature, sig) or a session (_state).
_HARMLESS = frozenset({"digest", "mount", "from", "n", "ns", "last", "service", "scope", "artifactType"})
_SHOWN = 1024  # characters of a registry's words (threats.md, limits)
_SIGNATURE = 16  # characters; a parameter's value that is shorter protects nothing
_SCHEME = re.compile(r"\b(basic|bearer|negotiate)(\s+|%20)[\w+/=.~-]{6,}", re.ASCII | re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^/\s'\"]+@")
_PARAMETER = re.compile(r"([?&]([\w.-]+)=)[^&\s'\"<>]+")


def shown_url(url: httpx.URL) -> str:
    """A URL without user, password, fragment and the values of all but harmless parameters."""
    shown = [f"{name}={value if name in _HARMLESS else '***'}" for name, value in url.params.multi_items()]
    port = f":{url.port}" if url.port else ""
    query = f"?{'&'.join(shown)}" if shown else ""
    # `url.host` would decode what a registry made up as an international name, and fail over what is none.
    host = url.raw_host.decode("ascii")
    return printable(f"{url.scheme}://{host}{port}{url.path}{query}", limit=400)


def without_secrets(text: str, known: Iterable[str | None] = ()) -> str:
    """`text` of unknown origin without what looks like a credential or a signature, and without the `known` secrets."""
    secrets = Secrets()
    for secret in known:
        secrets.add(secret)
    text = _USERINFO.sub(r"\1***@", _SCHEME.sub(r"\1\2***", secrets.hide(text)))
    return _PARAMETER.sub(lambda found: found[0] if found[2] in _HARMLESS else f"{found[1]}***", text)


def printable(text: str, *, limit: int = _SHOWN) -> str:
    """`text` without control and direction characters, cut to `limit` characters."""
    clean = "".join(character if character.isprintable() else _escaped(character) for character in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


class Secrets:
    """The secrets that were sent somewhere, so that nobody's echo of them is ever shown. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()

    def add(self, text: str | None) -> None:
        """Remember a secret; what is shorter than four characters would hide half of every sentence."""
        if text and len(text) >= 4:
            with self._lock:
                self._known.add(text)

    def add_url(self, url: httpx.URL) -> None:
        """Remember the signatures and sessions in a URL: who it leads to may show them in an answer."""
        for name, value in url.params.multi_items():
            if name not in _HARMLESS and len(value) >= _SIGNATURE:
                self.add(value)

    def hide(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        with self._lock:
            known = sorted(self._known, key=len, reverse=True)
        for secret in known:
            text = text.replace(secret, "***")
        return text


def _escaped(character: str) -> str:
    return " " if character in "\r\n\t" else ascii(character)[1:-1]
