"""What a kit must have before a channel is moved to it: signature, checks, a scan, a policy that is met."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mlkit.api.evidence import Evidence, evidence_of
from mlkit.api.kit_facts import failed_checks, is_signed
from mlkit.api.session import Located, Session
from mlkit.errors import PolicyError, UsageError
from mlkit.spec.release import EvidenceKind
from mlkit.spec.test_result import TEST_RESULT, is_passed
from mlkit.trust.keys import PublicKey


def check_requirements(
    session: Session,
    located: Located,
    require: Collection[EvidenceKind],
    keys: Mapping[str, PublicKey],
    *,
    policy: Path | None,
) -> None:
    """Raises: PolicyError naming everything that is missing, and how to get it."""
    wanted = set(require)
    if policy is not None or "policy" in wanted or "scan" in wanted:
        raise UsageError("scans and policies cannot be required yet")
    if not wanted:
        return
    if not keys and wanted & {"signature", "checks", "scan"}:
        raise PolicyError(
            f"{located.reference}: nothing can be required of it without keys that are trusted",
            hint="the setting trusted_keys (MLKIT_TRUSTED_KEYS) names their .pub files",
        )
    found = evidence_of(session, located, keys)
    missing = [f"{kind}: {reason}" for kind in sorted(wanted) if (reason := _missing(kind, found, keys)) is not None]
    if missing:
        hints = {"signature": "mlkit sign", "checks": "mlkit check", "scan": "mlkit scan"}
        told = [f"`{hints[kind]} {located.reference} --key FILE`" for kind in sorted(wanted) if kind in hints]
        raise PolicyError(
            f"{located.reference}: does not have what is required: {'; '.join(missing)}",
            hint=f"{', '.join(told)}" if told else None,
        )


def _missing(kind: EvidenceKind, found: tuple[Evidence, ...], keys: Mapping[str, PublicKey]) -> str | None:
    trusted = [one for one in found if one.signed_by]
    if kind == "signature":
        return None if is_signed(found) else "no trusted key has signed it"
    if kind == "checks":
        if failed_checks(found, keys):
            return "its last check failed"
        passed = any(
            one.statement.predicate_type == TEST_RESULT and is_passed(one.statement.predicate) for one in trusted
        )
        return None if passed else "no trusted key has signed a result of its checks"
    return None
