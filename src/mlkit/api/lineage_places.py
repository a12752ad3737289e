"""Where lineage looks: local stores, repositories and whole registries, as places with tags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlkit.api.channel_store import LocalRepository, RemoteRepository
from mlkit.api.lineage_events import SCHEME, EventsPlace, state_of
from mlkit.api.lineage_kits import facts_of, statements_on
from mlkit.api.session import Located, Session
from mlkit.content.layout import Layout
from mlkit.errors import LimitError, MlkitError, NotFoundError, StoreError, UsageError
from mlkit.lineage.facts import KitFacts, ReleaseFacts, StatementFacts
from mlkit.lineage.scan import Found, Place
from mlkit.registry.store import RegistryStore
from mlkit.release.chain import open_chain
from mlkit.release.claims import channels_in
from mlkit.release.store import Repository
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import INDEX_TYPES, OCI_MANIFEST
from mlkit.spec.reference import Reference, check_host
from mlkit.spec.release import HISTORY_TAGS, MARKS, is_hidden_tag
from mlkit.trust.keys import PublicKey
from mlkit.trust.signer import signers_of

Keys = Mapping[str, PublicKey]
"""By their ids."""

_LIST_LIMIT = 1024 * 1024  # bytes of a list of targets: some ten thousand repositories
_HINT = (
    "a target is a registry (host), a repository (host/repository), a folder with an OCI layout, a file of events "
    "(openlineage:FILE), or @file"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a person named to be scanned."""

    name: str
    """As it is kept in the index: `host`, `host/repository`, or the absolute path of a store."""
    places: Callable[[], Iterable[Place]]
    state: Callable[[], str | None]


def parse_targets(session: Session, texts: Iterable[str], keys: Keys) -> tuple[Target, ...]:
    """The targets that `texts` name, each once; `@file` is a list of them. Raises: UsageError, NotFoundError."""
    found: dict[str, Target] = {}
    for text in texts:
        for one in _listed(Path(text[1:])) if text.startswith("@") else [text]:
            target = _target(session, one, keys)
            found.setdefault(target.name, target)
    return tuple(found.values())


def local_target(session: Session, keys: Keys, root: Path | None = None) -> Target:
    """The local store, or another one on this machine."""
    if root is not None:
        Layout.at(root)  # complains where there is none, and makes none
        session = Session(replace(session.settings, home=root), progress=session.progress)
    layout = session.layout
    name = os.path.realpath(layout.root)
    return Target(name, lambda: [LocalPlace(session, name, keys)], layout.state)


class LocalPlace:
    """A store on this machine: what has a name, and kits without one."""

    is_local = True

    def __init__(self, session: Session, name: str, keys: Keys) -> None:
        self.name = name
        self._session = session
        self._keys = keys
        layout = session.layout
        self._tags = {name: desc for name, desc in layout.names().items() if _is_shown(name)}
        self._homes = {desc.digest: name for name, desc in self._tags.items()}
        self._tags |= {f"@{desc.digest}": desc for desc in layout.manifests() if desc.digest not in self._homes}

    def tags(self) -> Iterator[str]:
        return iter(sorted(self._tags))

    def told(self, tag: str) -> Digest | None:
        return self._tags[tag].digest

    def read(self, tag: str, is_known: Callable[[Digest], bool]) -> Found:
        desc = self._tags[tag]
        if is_known(desc.digest):
            return Found(desc.digest)
        return _read(desc, self._facts, self._session.layout.resolve)

    def statements(self, digest: Digest) -> tuple[StatementFacts, ...]:
        return statements_on(self._session, self._located(Descriptor(OCI_MANIFEST, digest, 0)), self._keys)

    def releases(self) -> Iterator[ReleaseFacts]:
        names = sorted(self._session.layout.names())
        for repository in dict.fromkeys(name.rpartition(":")[0] for name in names if f":{HISTORY_TAGS}" in name):
            store = LocalRepository(self._session.layout, repository)
            yield from _releases(store, Reference.parse(repository).repository, repository, self._keys)

    def _facts(self, desc: Descriptor) -> KitFacts | None:
        return facts_of(self._session, self._located(desc), self._keys)

    def _located(self, desc: Descriptor) -> Located:
        # Signatures in cosign's older forms lie in the same repository.
        reference = Reference.parse(self._homes.get(desc.digest, "unnamed")).with_digest(desc.digest)
        return Located(reference, desc.bare, self._session.layout, "local")


class RemotePlace:
    """One repository of a registry."""

    is_local = False

    def __init__(self, session: Session, host: str, repository: str, keys: Keys) -> None:
        self._session = session
        self._reference = Reference(host, repository)
        self._store: RegistryStore = session.registry(self._reference)
        session.remote(self._reference)  # made here, where there is one thread
        self._keys = keys
        self._hidden: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self._reference.name

    def tags(self) -> Iterator[str]:
        listed = list(self._store.tags())
        self._hidden = frozenset(tag for tag in listed if not _is_shown(tag))
        return (tag for tag in listed if tag not in self._hidden)

    def told(self, tag: str) -> Digest | None:
        return self._store.told(tag)

    def read(self, tag: str, is_known: Callable[[Digest], bool]) -> Found:
        desc = self._store.resolve(tag)
        if is_known(desc.digest):
            return Found(desc.digest)
        return _read(desc, self._facts, self._store.resolve)

    def statements(self, digest: Digest) -> tuple[StatementFacts, ...]:
        located = self._located(Descriptor(OCI_MANIFEST, digest, 0))
        return statements_on(self._session, located, self._keys, tags=self._hidden)

    def releases(self) -> Iterator[ReleaseFacts]:
        if not any(tag.startswith(HISTORY_TAGS) for tag in self._hidden):
            return
        store = RemoteRepository(self._store)
        yield from _releases(store, self._reference.repository, None, self._keys)

    def _facts(self, desc: Descriptor) -> KitFacts | None:
        return facts_of(self._session, self._located(desc), self._keys, tags=self._hidden)

    def _located(self, desc: Descriptor) -> Located:
        return Located(self._reference.with_digest(desc.digest), desc, self._store, "remote")


def _releases(store: Repository, repository: str, prefix: str | None, keys: Keys) -> Iterator[ReleaseFacts]:
    """Every history of a repository; with `prefix` before the names of its channels, where a place has several."""
    tags = list(store.tags())
    for channel in sorted(channels_in(tags) - {MARKS}):
        chain = open_chain(store, repository, channel, tags)
        signed: frozenset[str] = frozenset()
        for record in chain.walk():
            # A signature on a record covers all before it: each names its previous one by digest.
            signed |= frozenset(signers_of(record.envelope, keys)) if record.envelope else frozenset()
            release = record.release
            yield ReleaseFacts(
                channel=channel if prefix is None else f"{prefix}:{channel}",
                sequence=release.sequence,
                action=release.action,
                kit=release.to,
                before=release.from_,
                at=release.at,
                by=release.by,
                record=record.digest,
                message=release.message,
                signed_by=tuple(sorted(signed)),
                is_signed=record.envelope is not None,
            )


def _read(
    desc: Descriptor, facts: Callable[[Descriptor], KitFacts | None], resolve: Callable[[str], Descriptor]
) -> Found:
    """A kit, or an index with its kits, of which some may be elsewhere. What is neither is counted, and no more."""
    own = facts(desc)
    if own is None:
        return Found(desc.digest, is_kit=False)
    found = [own]
    for edge in own.edges if desc.media_type in INDEX_TYPES else ():
        try:
            child = facts(resolve(edge.origin.key))
        except NotFoundError:
            continue  # it stays known by its digest, as a kit that nobody has seen
        found += [child] if child is not None else []
    return Found(desc.digest, tuple(found))


def _is_shown(name: str) -> bool:
    """Tags of referrers, signatures and histories are those of no kit."""
    return not is_hidden_tag(name.rpartition(":")[2])


def _target(session: Session, text: str, keys: Keys) -> Target:
    if text.startswith(SCHEME):
        path = Path(text.removeprefix(SCHEME)).expanduser()
        place = EventsPlace(path)
        return Target(place.name, lambda: [place], lambda: state_of(path))
    if (Path(text) / "oci-layout").is_file() or text.startswith(("/", "./", "../", "~")) or text == ".":
        return local_target(session, keys, Path(text).expanduser())
    host, slash, repository = text.rstrip("/").partition("/")
    if not ("." in host or ":" in host or host == "localhost"):
        raise UsageError(f"{ascii(text)[:120]} is no place to look for kits", hint=_HINT)
    if not slash:
        return _registry(session, check_host(host), keys)
    reference = Reference.parse(text.rstrip("/"))
    if reference.tag or reference.digest:
        raise UsageError(f"{ascii(text)[:120]}: a target is a whole repository", hint=f"name {reference.name}")
    return Target(
        reference.name,
        lambda: [RemotePlace(session, check_host(host), repository, keys)],
        lambda: _state(session, check_host(host)),
    )


def _registry(session: Session, host: str, keys: Keys) -> Target:
    def places() -> Iterator[Place]:
        for repository in session.host(host).repositories():
            yield RemotePlace(session, host, repository, keys)

    return Target(host, places, lambda: _state(session, host))


def _state(session: Session, host: str) -> str | None:
    try:
        return session.host(host).state()
    except MlkitError:
        return None  # whatever is wrong will be wrong again, and be told, when it is scanned


def _listed(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LIST_LIMIT + 1)
        if len(raw) > _LIST_LIMIT:
            raise LimitError(f"{path}: more than {_LIST_LIMIT} bytes, which no list of targets has")
        lines = raw.decode("utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such list of targets") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise StoreError(f"{path}: {os.strerror(error.errno or 0)}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
