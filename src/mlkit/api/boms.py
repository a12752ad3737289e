"""Bills of materials of kits."""

from __future__ import annotations

from typing import Any

from mlkit import __version__
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.api.variants import ANY, Choice, locate
from mlkit.packing.bom import SpecVersion, bill_of_materials
from mlkit.packing.kit import load_kit
from mlkit.spec.reference import Reference


def bom(
    session: Session,
    reference: Reference,
    *,
    choice: Choice = ANY,
    spec_version: SpecVersion = "1.6",
    remote: bool = False,
) -> dict[str, Any]:
    """What a kit consists of and was made from, in CycloneDX; its documents are read, and no layer.

    Raises: NotFoundError; UnsafeError for what is no kit.
    """
    return bom_of(locate(session, reference, choice, remote=remote), spec_version=spec_version)


def bom_of(located: Located, *, spec_version: SpecVersion = "1.6") -> dict[str, Any]:
    """Like `bom`, of what was found already."""
    with explained_trouble(located):
        return bill_of_materials(load_kit(located.store, located.desc), version=__version__, spec_version=spec_version)
