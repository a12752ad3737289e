"""A repository whose content may be had nearer by: mirrors and pull-through caches are asked first, and never believed.

Content has a digest, so it may come from anywhere; what cannot be checked by one comes from the registry itself: lists
of tags and, unless the user says otherwise, what a tag points at and what refers to a manifest. A mirror that fails is
left alone for the rest of the run. Nothing is ever written to one.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from mlkit.content.storage import Broken, RangesRefused
from mlkit.content.verify import VerifyReader, read_some, unverified
from mlkit.errors import MlkitError, NetworkError, NotFoundError
from mlkit.registry.manifests import is_manifest
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_WHOLE = 1024 * 1024  # bytes up to which content is verified here, in memory
_PIECE = 256 * 1024  # bytes; what was read of a piece that breaks off is asked for once more

T = TypeVar("T")


class MirroredStore:
    """One repository for reading, as a `ReadOnlyStorage` and `Ranged`. Thread-safe."""

    def __init__(
        self,
        origin: RegistryStore,
        mirrors: Sequence[RegistryStore],
        *,
        have_tags: bool = False,
        warn: Callable[[str], None],
    ) -> None:
        """`have_tags`: whether mirrors are believed about tags and referrers."""
        self._origin = origin
        self._mirrors = tuple(mirrors)
        self._have_tags = have_tags
        self._warn = warn
        self._lock = threading.Lock()
        self._failed: set[RegistryStore] = set()
        self._asked: dict[Digest, set[int]] = {}

    @property
    def name(self) -> str:
        """`host/repository` of the registry itself."""
        return self._origin.name

    def resolve(self, name: str) -> Descriptor:
        """What a tag or a digest points at. Raises: like `RegistryStore.resolve`."""
        if ":" in name or self._have_tags:
            return self._first(lambda store: store.resolve(name))
        return self._origin.resolve(name)

    def find(self, tag: str) -> Descriptor | None:
        """See `RegistryStore.find`; as the registry itself says, or who is believed about tags."""
        return self._first(lambda store: store.find(tag)) if self._have_tags else self._origin.find(tag)

    def exists(self, desc: Descriptor) -> bool:
        """Whether a mirror or the registry has the content. Raises: AuthError, NetworkError."""
        return any(self._known(store, desc) for store in self._order())

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """A stream over as many mirrors as it takes, and the registry; see `ReadOnlyStorage.open`.

        Raises: what the registry itself says, where none has it.
        """
        if is_manifest(desc) or desc.size <= _WHOLE:
            return io.BytesIO(self.raw(desc)[offset:])
        stream = cast(BinaryIO, _Stream(self, self._order(desc.digest, offset), desc, offset, desc.size))
        return stream if offset else cast(BinaryIO, VerifyReader(stream, desc))

    def open_range(
        self, desc: Descriptor, *, offset: int, length: int, is_exact: bool = False
    ) -> AbstractContextManager[BinaryIO]:
        """See `Ranged`."""
        end = min(offset + length, desc.size)
        order = self._order(desc.digest, offset)
        return cast(BinaryIO, _Stream(self, order, desc, offset, end, is_exact=is_exact))

    def raw(self, desc: Descriptor) -> bytes:
        """The verified bytes of a small document. Raises: like `RegistryStore.raw`."""
        return self._first(lambda store: store.raw(desc))

    def tags(self) -> Iterator[str]:
        """The tags, as the registry itself lists them."""
        return self._origin.tags()

    def referrers(
        self, desc: Descriptor, artifact_type: str | None = None, *, broken: Broken | None = None
    ) -> Iterator[Descriptor]:
        """See `RegistryStore.referrers`; as the registry itself lists them, or who is believed about tags."""
        if self._have_tags:
            return iter(self._first(lambda store: tuple(store.referrers(desc, artifact_type, broken=broken))))
        return self._origin.referrers(desc, artifact_type, broken=broken)

    def fail(self, store: RegistryStore, error: MlkitError) -> None:
        """Ask this mirror no more; one that merely lacks something stays. For the registry itself, nothing happens."""
        if isinstance(error, NotFoundError | RangesRefused) or store is self._origin:
            return
        with self._lock:
            is_news = store not in self._failed
            self._failed.add(store)
        if is_news:
            self._warn(f"a mirror of {self.name} is not asked any more: {error.message}")

    def error_of(self, errors: Sequence[tuple[RegistryStore, MlkitError]]) -> MlkitError:
        """Of all failures the one that tells most: the registry's own."""
        return next((error for store, error in errors if store is self._origin), errors[-1][1])

    def _first(self, ask: Callable[[RegistryStore], T]) -> T:
        errors: list[tuple[RegistryStore, MlkitError]] = []
        for store in self._order():
            try:
                return ask(store)
            except MlkitError as error:
                self.fail(store, error)
                errors.append((store, error))
        raise self.error_of(errors)

    def _known(self, store: RegistryStore, desc: Descriptor) -> bool:
        try:
            return store.exists(desc)
        except MlkitError as error:
            if store is self._origin:
                raise
            self.fail(store, error)
            return False

    def _order(self, digest: Digest | None = None, offset: int = 0) -> tuple[RegistryStore, ...]:
        """Whom to ask, one after the other.

        A stream is verified by who reads it, and who was content does not come back: content that is asked for again
        from the same place, or from its start, is asked for at the registry itself first.
        """
        with self._lock:
            mirrors = tuple(store for store in self._mirrors if store not in self._failed)
            if digest is None:
                return (*mirrors, self._origin)
            asked = self._asked.setdefault(digest, set())
            is_again = offset in asked or (offset == 0 and bool(asked))
            asked.add(offset)
        return (self._origin, *mirrors) if is_again else (*mirrors, self._origin)


class _Stream(io.RawIOBase):
    """Bytes from `position` to `end`, of one store after the other; verifies nothing."""

    def __init__(
        self,
        owner: MirroredStore,
        stores: Sequence[RegistryStore],
        desc: Descriptor,
        position: int,
        end: int,
        *,
        is_exact: bool = False,
    ) -> None:
        super().__init__()
        self._is_exact = is_exact
        self._owner = owner
        self._left = list(stores)
        self._desc = desc
        self._position = position
        self._end = end
        self._errors: list[tuple[RegistryStore, MlkitError]] = []
        self._store = self._next()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Some bytes, 0 at the end. Raises: the registry's own error where nobody is left to ask."""
        view = memoryview(buffer).cast("B")[:_PIECE]
        while True:
            try:
                # Whoever reads this one verifies: part of the bytes may have come from another store.
                count = read_some(self._below, view)
                if view and not count and self._position < self._end:
                    raise NetworkError(f"{self._store.name}@{self._desc.digest}: ends after {self._position} bytes")
            except MlkitError as error:
                self._held.close()
                self._give_up(self._store, error)
                self._store = self._next()
                continue
            self._position += count
            return count

    def close(self) -> None:
        if not self.closed:
            self._held.close()
        super().close()

    def _next(self) -> RegistryStore:
        """Open what is left with the next store that can."""
        while self._left:
            store = self._left.pop(0)
            try:
                if self._is_exact or self._end < self._desc.size:
                    length = self._end - self._position
                    opened = store.open_range(self._desc, offset=self._position, length=length, is_exact=self._is_exact)
                    self._held = opened.__enter__()
                else:
                    self._held = store.open(self._desc, offset=self._position).__enter__()
                self._below = unverified(self._held)
                return store
            except MlkitError as error:
                self._give_up(store, error)
        raise self._owner.error_of(self._errors)

    def _give_up(self, store: RegistryStore, error: MlkitError) -> None:
        self._owner.fail(store, error)
        self._errors.append((store, error))
