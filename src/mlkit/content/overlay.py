"""Two stores as one: what the first does not have is read from the second."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from mlkit.content.storage import FileBacked, ReadOnlyStorage, open_part
from mlkit.spec.descriptor import Descriptor


class Overlay:
    """A ReadOnlyStorage, and FileBacked for what the first store can name a file of."""

    def __init__(self, first: ReadOnlyStorage, then: ReadOnlyStorage) -> None:
        self._first = first
        self._then = then

    @property
    def first(self) -> ReadOnlyStorage:
        """The store that is asked first."""
        return self._first

    def exists(self, desc: Descriptor) -> bool:
        return self._first.exists(desc) or self._then.exists(desc)

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """From the first store that has it; bytes that turn out broken are an error there, and no reason to go on."""
        store = self._first if self._first.exists(desc) else self._then
        return store.open(desc, offset=offset)

    def open_range(
        self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
    ) -> AbstractContextManager[BinaryIO]:
        store = self._first if self._first.exists(desc) else self._then
        return open_part(store, desc, offset=offset, length=length, is_exact=is_exact)

    def path(self, desc: Descriptor) -> Path | None:
        return self._first.path(desc) if isinstance(self._first, FileBacked) else None
