"""What can be said of a kit out of its own documents: its bill of materials, and the digests of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlkit.api.session import Located, Session, explained_trouble
from mlkit.errors import StoreError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.statement import CYCLONEDX, MODEL_SIGNING


def made_predicate(session: Session, located: Located, predicate_type: str) -> dict[str, Any]:
    """A predicate of one of the types that need no file. Raises: UsageError for any other; NotFoundError."""
    if predicate_type == CYCLONEDX:
        from mlkit.api.boms import bom_of

        return bom_of(located)
    if predicate_type == MODEL_SIGNING:
        from mlkit.trust.model_signing import predicate_of

        return predicate_of(files_of_kit(session, located))
    raise UsageError(
        f"{predicate_type}: nothing is said yet",
        hint="--predicate FILE; of cyclonedx and model-signing it is made from the kit",
    )


def files_of_kit(session: Session, located: Located) -> dict[str, Digest]:
    """The digest of every file that unpacking the kit would write, by path; no layer is fetched.

    Raises: NotFoundError where another tool packed the kit, and a layer must be read and is not here.
    """
    from mlkit.api.parents import parents_of
    from mlkit.packing.compare import expected_files
    from mlkit.packing.kit import load_kit
    from mlkit.packing.select import select

    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        files = expected_files(kit, located.store, select(kit, ()), parents_of(session), session.layout.exists)
    return {path: file.digest for path, file in files.items()}


def write_output(path: Path, raw: bytes) -> None:
    """Write what was asked for into a file. Raises: StoreError."""
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
