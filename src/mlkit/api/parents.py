"""Kits that a kit is built on: `model.path` and `datasets[].remotePath` naming others, pinned when it was packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mlkit.api.policies import Gate
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import LimitError, UsageError
from mlkit.packing.kit import CHAIN_LIMIT, PARENT_ROLE, Kit, load_kit
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.kitfile import dataset_reference, model_reference, remote_entries
from mlkit.spec.reference import Reference

DATASET_ROLE = "dataset"
"""The role of the input that a kit in `datasets[].remotePath` is."""


def parents_of(session: Session, gate: Gate | None = None) -> Callable[[Kit], tuple[Kit, ReadOnlyStorage] | None]:
    """A function that finds the kit which a kit's model is, by the digest it was pinned to, and asks `gate` about it.

    Raises: PolicyError. How far they are followed is `ancestors`' business.
    """

    def parent_of(kit: Kit) -> tuple[Kit, ReadOnlyStorage] | None:
        reference = parent_reference(kit)
        if reference is None:
            return None
        located = session.locate(reference)
        if gate is not None:
            gate.check(located, purpose="parent")
        return load_kit(located.store, located.desc), located.store

    return parent_of


def parent_reference(kit: Kit) -> Reference | None:
    """The kit that `model.path` names, pinned; None where it names files, whatever base the kit was trained from."""
    named = model_reference(kit.kitfile)
    return None if named is None else _pinned(kit, named, PARENT_ROLE)


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """A dataset whose content is elsewhere."""

    entry: EntryRecord
    """Its path is where the content is put."""
    remote_path: str
    reference: Reference | None
    """The kit that it is, pinned where the kit was packed by mlkit; None for a URL."""
    remote_hash: str | None


def remote_datasets(kit: Kit) -> tuple[RemoteDataset, ...]:
    """The datasets that a kit names and does not hold."""
    found = []
    for entry, remote_path, remote_hash in remote_entries(kit.kitfile):
        reference = dataset_reference(remote_path)
        if reference is not None:
            reference = _pinned(kit, reference, DATASET_ROLE)
        record = EntryRecord(entry.id, entry.cls, entry.name, entry.path, entry.version, entry.description)
        found.append(RemoteDataset(record, remote_path, reference, remote_hash))
    return tuple(found)


def _pinned(kit: Kit, named: Reference, role: str) -> Reference:
    """A reference of the Kitfile with the digest that it had when the kit was packed.

    Of several inputs under one name the first counts: `pack` writes what a kit consists of before what else it was
    made from. A kit of another tool has none, and the reference stays as it is written.
    """
    if named.digest is not None:
        return named
    for record in kit.document.inputs if kit.document else ():
        if record.role == role and record.ref is not None:
            reference = Reference.parse(record.ref)
            if reference.digest is not None and replace(reference, digest=None) == named:
                return reference
    return named


def check_references(session: Session, reference: Reference) -> Located:
    """Find the kit that a reference names, and see that what it refers to in turn comes to an end.

    Raises: NotFoundError; UsageError for kits that refer to each other in a circle; LimitError beyond ten in a row.
    """
    done: set[Digest] = set()

    def visit(reference: Reference, chain: tuple[tuple[Reference, Digest], ...]) -> Located:
        located = session.locate(reference)
        digest = located.desc.digest
        names = " -> ".join(str(one) for one in (*(before for before, _ in chain), reference))
        if digest in (before for _, before in chain):
            raise UsageError(f"kit references go in a circle: {names}")
        if len(chain) >= CHAIN_LIMIT:
            raise LimitError(f"more than {CHAIN_LIMIT} kit references in a chain: {names}")
        if digest not in done:
            with explained_trouble(located):
                kit = load_kit(located.store, located.desc)
            following = [parent_reference(kit), *(dataset.reference for dataset in remote_datasets(kit))]
            for found in following:
                if found is not None:
                    visit(found, (*chain, (reference, digest)))
            done.add(digest)
        return located

    return visit(reference, ())
