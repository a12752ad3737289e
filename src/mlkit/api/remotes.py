"""Datasets that a kit names and does not hold: other kits, and objects in S3-compatible storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlkit.api.parents import RemoteDataset, remote_datasets
from mlkit.api.policies import Gate
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.archive.extract import StagedFile
from mlkit.content.lock import write_all
from mlkit.errors import LimitError, UsageError
from mlkit.packing.kit import CHAIN_LIMIT, Kit, load_kit
from mlkit.packing.select import Filter, Selection, select_parsed, takes_whole
from mlkit.packing.staged import joined
from mlkit.packing.unpack import RemoteFile, RemoteKit
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference

_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_ONLY_DATASETS = (Filter.parse(Class.DATASETS),)


@dataclass(frozen=True, slots=True)
class FoundKit:
    """A kit that is a dataset of another one; of it, only its own datasets are wanted."""

    reference: Reference
    located: Located
    kit: Kit
    selection: Selection
    path: str
    """Where its files go."""


@dataclass(frozen=True, slots=True)
class FoundUrl:
    """An object that is a dataset."""

    url: str
    remote_hash: str | None
    folder: str
    path: str | None
    """Where it goes in the folder; None for the name that it has in its storage."""


def wanted_remotes(kit: Kit, filters: Sequence[Filter]) -> tuple[RemoteDataset, ...]:
    """The datasets elsewhere that filters want; a filter names them whole, by class, name or path."""
    return tuple(dataset for dataset in remote_datasets(kit) if takes_whole(filters, dataset.entry))


def find_remotes(
    session: Session, kit: Kit, filters: Sequence[Filter], gate: Gate | None = None
) -> Iterator[FoundKit | FoundUrl]:
    """What a kit names for its datasets, and what those kits name in turn; documents are read, and nothing else.

    Raises: NotFoundError; PolicyError for a kit that `gate` refuses; UsageError for a circle, LimitError for a chain of
    more than ten.
    """
    own = kit.manifest.descriptor.digest
    yield from _find(session, wanted_remotes(kit, filters), ".", (own,), gate)


def for_unpacking(session: Session, found: Sequence[FoundKit | FoundUrl]) -> tuple[RemoteKit | RemoteFile, ...]:
    """Look at every object, so that what is not there is told before anything is written."""
    return tuple(
        RemoteKit(one.kit, one.located.store, one.selection, one.path)
        if isinstance(one, FoundKit)
        else _remote_file(session, one)
        for one in found
    )


def proxies_of(session: Session) -> dict[str, str]:
    """The proxies for storage by scheme, but for those of the environment.

    The library reads these itself, with the exceptions in NO_PROXY.
    """
    settings = session.settings
    named = {"https": ("proxy", settings.proxy), "http": ("http_proxy", settings.http_proxy)}
    return {
        scheme: url
        for scheme, (name, url) in named.items()
        if url and settings.sources.get(name, settings.sources["proxy"]).lower() not in _PROXY_VARIABLES
    }


def _find(
    session: Session, datasets: Sequence[RemoteDataset], folder: str, chain: tuple[Digest, ...], gate: Gate | None
) -> Iterator[FoundKit | FoundUrl]:
    for dataset in datasets:
        path = dataset.entry.path
        if dataset.reference is None:
            yield FoundUrl(dataset.remote_path, dataset.remote_hash, folder, None if path == "." else path)
            continue
        located = session.locate(dataset.reference)
        digest = located.desc.digest
        names = " -> ".join(one.short for one in (*chain, digest))
        if digest in chain:
            raise UsageError(f"{dataset.reference}: kit references go in a circle ({names})")
        if len(chain) > CHAIN_LIMIT:
            raise LimitError(f"{dataset.reference}: more than {CHAIN_LIMIT} kit references in a chain ({names})")
        if gate is not None:
            gate.check(located, purpose="dataset")
        with explained_trouble(located):
            kit = load_kit(located.store, located.desc)
        below = folder if path == "." else joined(folder, path)
        yield FoundKit(dataset.reference, located, kit, select_parsed(kit, _ONLY_DATASETS), below)
        yield from _find(session, remote_datasets(kit), below, (*chain, digest), gate)


def _remote_file(session: Session, found: FoundUrl) -> RemoteFile:
    from mlkit.sources.s3 import Network, find_object

    settings = session.settings
    network = Network(proxies_of(session), settings.ca_files, settings.insecure)
    stored = find_object(found.url, found.remote_hash, network)

    def write(target: StagedFile, moved: Callable[[int], None]) -> None:
        stored.write(_Descriptor(target.fileno()), moved)

    return RemoteFile(joined(found.folder, found.path or stored.place.name), found.url, stored.size, write)


@dataclass(frozen=True, slots=True)
class _Descriptor:
    number: int

    def write(self, content: bytes) -> None:
        write_all(self.number, content)
