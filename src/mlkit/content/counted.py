"""A store that tells how much was read of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from mlkit.content.storage import ReadOnlyStorage, open_part
from mlkit.content.verify import MeteredReader
from mlkit.spec.descriptor import Descriptor


class Counted:
    """A ReadOnlyStorage and Ranged over another store; used from several threads."""

    def __init__(self, store: ReadOnlyStorage) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.read_bytes = 0

    def exists(self, desc: Descriptor) -> bool:
        return self._store.exists(desc)

    @contextmanager
    def open(self, desc: Descriptor, *, offset: int = 0) -> Iterator[BinaryIO]:
        with self._store.open(desc, offset=offset) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._count))

    @contextmanager
    def open_range(self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False) -> Iterator[BinaryIO]:
        with open_part(self._store, desc, offset=offset, length=length, is_exact=is_exact) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._count))

    def _count(self, count: int) -> None:
        with self._lock:
            self.read_bytes += count
