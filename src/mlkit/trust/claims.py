"""Statements as a policy looks at them: when they were signed, and what a scan says. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mlkit.spec.digest import Digest
from mlkit.spec.media_types import CREATED, KIT_DIGEST
from mlkit.spec.statement import CYCLONEDX, SCAN, SLSA_PROVENANCE, Statement
from mlkit.spec.test_result import TEST_RESULT, is_passed
from mlkit.trust.evaluate import Claim

# Where predicates tell when they were made; what mlkit signs tells it of the subject, whatever the predicate.
_TIMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    SLSA_PROVENANCE: (("runDetails", "metadata", "finishedOn"), ("runDetails", "metadata", "startedOn")),
    CYCLONEDX: (("metadata", "timestamp"),),
    SCAN: (("scannedAt",),),
}


def claim_of(digest: Digest, subject: Digest, statement: Statement, signed_by: tuple[str, ...]) -> Claim:
    """What a statement claims of `subject`, to which it is attached by the manifest `digest`."""
    return Claim(
        digest=digest,
        subject=subject,
        is_about_subject=statement.names(subject),
        predicate_type=statement.predicate_type,
        signed_by=signed_by,
        signed_at=signed_at(statement, subject),
        is_good=_is_good(statement),
    )


def signed_at(statement: Statement, subject: Digest) -> datetime | None:
    """When a statement was signed, by its own word; None where it does not say, or says no time."""
    told = [_moment(_at(statement.predicate, path)) for path in _TIMES.get(statement.predicate_type, ())]
    made = next((moment for moment in told if moment is not None), None)
    for one in statement.subjects:
        is_about = one.digest == subject or one.annotations.get(KIT_DIGEST) == str(subject)
        if is_about and CREATED in one.annotations:
            signed = _moment(one.annotations[CREATED])
            # An old scan that is signed today is an old scan.
            return min(made, signed) if made and signed and statement.predicate_type == SCAN else signed
    return made


def _is_good(statement: Statement) -> bool | None:
    if statement.predicate_type == SCAN:
        return statement.predicate.get("verdict") == "clean"
    return is_passed(statement.predicate) if statement.predicate_type == TEST_RESULT else None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _moment(text: object) -> datetime | None:
    """An RFC 3339 time; one without an offset is none, since nobody knows when that was."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    parse: Callable[[str], datetime] = datetime.fromisoformat
    try:
        found = parse(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
