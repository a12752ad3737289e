"""An unpacked directory against the kit that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlkit.api.parents import parents_of
from mlkit.api.session import Session, explained_trouble
from mlkit.api.variants import ANY, Choice, locate
from mlkit.packing.compare import Difference
from mlkit.packing.compare import compare as compare_kit
from mlkit.packing.kit import load_kit
from mlkit.packing.select import select
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference


@dataclass(frozen=True, slots=True)
class DirectoryReport:
    """Whether a directory holds what a kit says."""

    reference: str
    digest: Digest
    directory: Path
    is_same: bool
    files: int
    """How many files of the kit were looked for."""
    size: int
    """Bytes that were read."""
    missing: tuple[Difference, ...]
    extra: tuple[Difference, ...]
    """What the kit does not have at all."""
    changed: tuple[Difference, ...]


def compare(
    session: Session,
    reference: Reference,
    directory: Path,
    *,
    choice: Choice = ANY,
    filters: Sequence[str] = (),
    remote: bool = False,
) -> DirectoryReport:
    """Compare a directory with a kit, or with the selected part of one; documents are fetched, and no layer.

    Raises: NotFoundError; UsageError for what is no directory; what `packing.compare` raises.
    """
    located = locate(session, reference, choice, remote=remote)
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        compared = compare_kit(
            kit,
            located.store,
            directory,
            selection=select(kit, filters) if filters else None,
            parents=parents_of(session),
            is_here=session.layout.exists,
            concurrency=session.settings.concurrency,
            progress=session.progress,
        )
    by_kind = {
        kind: tuple(one for one in compared.differences if one.kind == kind) for kind in ("missing", "extra", "changed")
    }
    return DirectoryReport(
        reference=str(reference),
        digest=located.desc.digest,
        directory=directory,
        is_same=compared.is_same,
        files=compared.files,
        size=compared.size,
        missing=by_kind["missing"],
        extra=by_kind["extra"],
        changed=by_kind["changed"],
    )
