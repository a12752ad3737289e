"""Content of a store that is not on this machine, as a download wants it (`Resumable`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from mlkit.content.pace import Connections
from mlkit.content.storage import FileBacked, Ranged, ReadOnlyStorage, open_part
from mlkit.content.verify import MeteredReader
from mlkit.spec.descriptor import Descriptor


class FarContent:
    """One blob of a store. Its streams may be read by several threads at once, each its own."""

    def __init__(
        self,
        store: ReadOnlyStorage,
        desc: Descriptor,
        connections: Connections | None = None,
        *,
        moved: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`moved` is told of the bytes of every read, by whichever thread read them; what it raises stops that one."""
        self._store = store
        self._desc = desc
        self._moved = moved
        self.connections = connections if isinstance(store, Ranged) else None
        """See `Resumable`."""

    def resumed(self, count: int) -> None:
        """See `Resumable`."""

    @contextmanager
    def open(self, *, offset: int = 0) -> Iterator[BinaryIO]:
        """See `Content`."""
        with self._store.open(self._desc, offset=offset) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._moved))

    @contextmanager
    def open_range(self, *, offset: int, length: int, is_exact: bool) -> Iterator[BinaryIO]:
        """See `Resumable`."""
        with open_part(self._store, self._desc, offset=offset, length=length, is_exact=is_exact) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._moved))


def is_far(store: ReadOnlyStorage, desc: Descriptor) -> bool:
    """Whether no file of this machine holds the content."""
    return not isinstance(store, FileBacked) or store.path(desc) is None
