"""Signatures and attestations as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlkit.cli import render
from mlkit.spec.statement import SHORT_NAMES

if TYPE_CHECKING:
    from mlkit.api.evidence import AttachedStatement, Evidence
    from mlkit.api.verifying import Verification

_SHORT = {uri: name for name, uri in SHORT_NAMES.items()}


def evidence_table(found: Iterable[Evidence]) -> str:
    """One line for each, with whose it is: only for what was verified."""
    rows = [
        (
            ", ".join(map(render.cell, one.signed_by)),
            _type(one.statement.predicate_type),
            render.moment(one.created),
            render.short(one.digest),
        )
        for one in found
    ]
    return render.table(("SIGNED BY", "SAYS", "AT", "FOUND IN"), rows) if rows else ""


def attached_table(found: Iterable[AttachedStatement]) -> str:
    """One line for each, without a word on whose it is: nobody has looked."""
    rows = [(render.short(one.digest), _type(one.predicate_type), render.moment(one.created)) for one in found]
    return render.table(("ATTACHED", "SAYS", "AT"), rows) if rows else ""


def verification_document(found: Verification) -> dict[str, Any]:
    """The report, for programs."""
    return {
        "reference": found.reference,
        "digest": found.digest,
        "found": found.source,
        "verified": found.is_verified,
        "predicate_type": found.predicate_type,
        "keys": [{"name": name, "key_id": key_id} for name, key_id in found.keys.items()],
        "matched": [{**evidence_document(one), "predicate": one.statement.predicate} for one in found.matched],
        "others": [evidence_document(one) for one in found.others],
        "unusable": found.unusable,
        "unexamined": found.unexamined,
    }


def evidence_document(one: Evidence) -> dict[str, Any]:
    """One signature or attestation, for programs; `key_id` is what it says of itself."""
    return {
        "digest": one.digest,
        "form": one.form,
        "predicate_type": one.statement.predicate_type,
        "signed_by": one.signed_by,
        "key_id": one.key_id,
        "created": one.created,
    }


def _type(kind: str) -> str:
    return "signature" if _SHORT.get(kind) == "sign" else render.cell(_SHORT.get(kind, kind), 40)
