"""Repositories of registries and of the local store, as `mlkit.release` sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.content.storage import Content
from mlkit.errors import ConflictError, NotFoundError
from mlkit.registry.store import RegistryStore
from mlkit.release.store import Repository
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """A `Repository` in a registry. It is never read through mirrors: they may be behind."""

    store: RegistryStore

    @property
    def name(self) -> str:
        return self.store.name

    def tags(self) -> Iterable[str]:
        try:
            return list(self.store.tags())
        except NotFoundError:
            return []

    def find(self, name: str) -> Descriptor | None:
        return self.store.find(name)

    def raw(self, desc: Descriptor) -> bytes:
        return self.store.raw(desc)

    def exists(self, desc: Descriptor) -> bool:
        return self.store.exists(desc)

    def push(self, desc: Descriptor, content: Content) -> None:
        self.store.push(desc, content)

    def tag(self, desc: Descriptor, name: str) -> None:
        self.store.tag(desc, name)

    def move(self, desc: Descriptor, name: str, *, expected: Digest | None) -> None:
        self.store.tag(desc, name, replacing=expected)


@dataclass(frozen=True, slots=True)
class LocalRepository:
    """A `Repository` in the local store: the names that begin with it."""

    layout: Layout
    name: str

    def tags(self) -> Iterable[str]:
        start = f"{self.name}:"
        # A name in the store is split at its last colon: a port has a slash after it.
        return [name[len(start) :] for name in self.layout.names() if name.rpartition(":")[0] == self.name]

    def find(self, name: str) -> Descriptor | None:
        try:
            return self.layout.resolve(name if ":" in name else f"{self.name}:{name}")
        except NotFoundError:
            return None

    def raw(self, desc: Descriptor) -> bytes:
        return self.layout.raw(desc)

    def exists(self, desc: Descriptor) -> bool:
        return self.layout.exists(desc)

    def push(self, desc: Descriptor, content: Content) -> None:
        self.layout.push(desc, content)

    def tag(self, desc: Descriptor, name: str) -> None:
        self.layout.tag(desc, f"{self.name}:{name}")

    def move(self, desc: Descriptor, name: str, *, expected: Digest | None) -> None:
        if not self.layout.swap(desc, f"{self.name}:{name}", expected=expected):
            raise ConflictError(f"{self.name}:{name}: somebody else has moved this tag meanwhile")


def repository_of(session: Session, reference: Reference) -> Repository:
    """The repository that a reference names: in its registry, or, without a host, in the local store."""
    if reference.host is None:
        return LocalRepository(session.layout, reference.repository)
    return RemoteRepository(session.registry(reference))
