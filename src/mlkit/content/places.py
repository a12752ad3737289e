"""Where blobs were seen: repositories that a registry may take them over from instead of having them sent again.

A cache (`.mlkit/seen.sqlite`), and a hint: the registry says whether it is still so. Names of repositories are told to
no other registry than their own, since a blob is looked up together with the registry that is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from mlkit.content.stat_cache import StatCache
from mlkit.errors import MlkitError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_json, render_json
from mlkit.spec.reference import is_repository

_KEPT = 4  # repositories of one registry that are remembered for a blob
_LIMIT = 4096  # bytes of their names


class Places:
    """Safe for many threads and processes. Raises nothing of its own: what cannot be read or written is not known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._cache: StatCache | None = None

    def of(self, origin: str, digest: Digest) -> tuple[str, ...]:
        """Repositories of the registry at `origin` that had the blob, the latest first."""
        return _parse(self._open().get(_key(origin, digest)))

    def everywhere(self, digest: Digest) -> tuple[tuple[str, str], ...]:
        """Every origin and repository that had the blob."""
        suffix = f" {digest}"
        return tuple(
            (key.decode(errors="replace").removesuffix(suffix), repository)
            for key, value in self._open().ending(suffix.encode())
            for repository in _parse(value)
        )

    def saw(self, origin: str, repository: str, digests: Iterable[Digest]) -> None:
        """These blobs are in this repository."""
        cache = self._open()
        for digest in digests:
            known = _parse(cache.get(_key(origin, digest)))
            if known[:1] != (repository,):
                latest = [repository, *(other for other in known if other != repository)]
                cache.put(_key(origin, digest), render_json(latest[:_KEPT]))

    def close(self) -> None:
        """Write what was seen."""
        with self._lock:
            self._opened.close()
            self._cache = None

    def _open(self) -> StatCache:
        with self._lock:
            if self._cache is None:
                self._cache = self._opened.enter_context(StatCache.open(self._path))
            return self._cache


def _key(origin: str, digest: Digest) -> bytes:
    return f"{origin} {digest}".encode()


def _parse(value: bytes | None) -> tuple[str, ...]:
    """Names that end up in a URL: whatever is none, by whoever it was written, is left out."""
    if value is None:
        return ()
    try:
        names = parse_json(value, what="seen", limit=_LIMIT)
    except MlkitError:
        return ()
    known = names if isinstance(names, list) else []
    return tuple(name for name in known if isinstance(name, str) and is_repository(name))
