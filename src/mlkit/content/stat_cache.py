"""What was learnt about files before, so that packing again reads only what changed (D5).

A cache and nothing more: where it is broken, locked or cannot be written, everything is as if it were empty.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROW_LIMIT = 1_000_000
"""Rows kept, the latest used first: some 200 MB on disk."""

_BATCH = 1000  # rows written in one transaction
_BUSY_WAIT = 0.2  # seconds for which another process may hold the file before we do without
# No database, a damaged one, or one of another shape. Codes are as sqlite3's errors give them.
_BROKEN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL)"


class StatCache:
    """Keys and values are opaque bytes. Safe to use from several threads."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        self._pending: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[StatCache]:
        """The cache in a file, which is made, or made again where it is broken. Raises nothing of its own."""
        cache = cls(_connection(path))
        try:
            yield cache
        finally:
            cache._close()

    def get(self, key: bytes) -> bytes | None:
        """What was put under `key`, or None."""
        with self._lock:
            if key in self._pending:
                return self._pending[key]
            if self._connection is None:
                return None
            try:
                row = self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error:
                return None
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def ending(self, suffix: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """The keys with this end and their values; reads all of the cache."""
        with self._lock:
            pending = tuple((key, value) for key, value in self._pending.items() if key.endswith(suffix))
            if self._connection is None:
                return pending
            try:
                query = "SELECT key, value FROM entries WHERE substr(key, -?) = ?"
                rows = self._connection.execute(query, (len(suffix), suffix)).fetchall()
            except sqlite3.Error:
                return pending
        return (*pending, *((key, value) for key, value in rows if isinstance(key, bytes) and isinstance(value, bytes)))

    def put(self, key: bytes, value: bytes) -> None:
        """Remember `value`, in place of what was there."""
        with self._lock:
            self._pending[key] = value
            if len(self._pending) >= _BATCH:
                self._write()

    def flush(self) -> None:
        """Write what was put, for a run that may not come to its end."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        pending, self._pending = self._pending, {}
        if self._connection is None or not pending:
            return
        with suppress(sqlite3.Error), self._connection:
            (last,) = self._connection.execute("SELECT coalesce(max(used), 0) FROM entries").fetchone()
            self._connection.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)",
                [(key, value, last + 1) for key, value in pending.items()],
            )

    def _close(self) -> None:
        with self._lock:
            self._write()
            if self._connection is None:
                return
            with suppress(sqlite3.Error), self._connection:
                self._connection.execute(
                    "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries ORDER BY used DESC, rowid DESC"
                    " LIMIT -1 OFFSET ?)",
                    (ROW_LIMIT,),
                )
            self._connection.close()
            self._connection = None


def _connection(path: Path) -> sqlite3.Connection | None:
    try:
        return _connect(path)
    except sqlite3.Error as error:
        if error.sqlite_errorcode not in _BROKEN:
            return None  # locked, read-only, no such folder: ours to do without, not to delete
    with suppress(OSError, sqlite3.Error):
        path.unlink()
        return _connect(path)
    return None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_WAIT, check_same_thread=False)
    try:
        # Nothing here is worth an fsync: what a power cut takes is hashed again.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_SCHEMA)
        connection.execute("SELECT key, value, used FROM entries LIMIT 1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
