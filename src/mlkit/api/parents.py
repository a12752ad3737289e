"""Kits that a kit is built on: `model.path` naming another kit, pinned when it was packed."""

from __future__ import annotations

from collections.abc import Callable

from mlkit.api.session import Session
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import LimitError
from mlkit.packing.kit import Kit, load_kit
from mlkit.spec.kitfile import model_reference
from mlkit.spec.reference import Reference

CHAIN_LIMIT = 10
"""Parents of parents, as KitOps has it."""


def parents_of(session: Session) -> Callable[[Kit], tuple[Kit, ReadOnlyStorage] | None]:
    """A function that finds the kit which a kit's model is, by the digest it was pinned to.

    Raises: LimitError beyond ten in a row: a chain of digests cannot come back to itself, but one of tags can.
    """
    depth = 0

    def parent_of(kit: Kit) -> tuple[Kit, ReadOnlyStorage] | None:
        nonlocal depth
        reference = parent_reference(kit)
        if reference is None:
            return None
        depth += 1
        if depth > CHAIN_LIMIT:
            raise LimitError(f"{reference}: more than {CHAIN_LIMIT} kit references in a chain")
        located = session.locate(reference)
        return load_kit(located.store, located.desc), located.store

    return parent_of


def parent_reference(kit: Kit) -> Reference | None:
    """The pinned reference of a kit's parent, or the one in its Kitfile where an older tool pinned none."""
    for record in kit.document.inputs if kit.document else ():
        if record.role == "base-model" and record.ref is not None:
            return Reference.parse(record.ref)
    return model_reference(kit.kitfile)
