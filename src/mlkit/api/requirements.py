"""What a kit must have before a channel is moved to it: signature, checks, a scan, a policy that is met."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mlkit.api.evidence import Evidence, evidence_of
from mlkit.api.kit_facts import failed_checks, kind_of, newest
from mlkit.api.policies import enforce
from mlkit.api.session import Located, Session
from mlkit.errors import PolicyError
from mlkit.spec.release import EvidenceKind
from mlkit.spec.statement import SCAN
from mlkit.trust.keys import PublicKey

_HINTS = {"signature": "mlkit sign", "checks": "mlkit check", "scan": "mlkit scan --attest"}


def check_requirements(
    session: Session, located: Located, require: Collection[EvidenceKind], keys: Mapping[str, PublicKey]
) -> None:
    """Raises: PolicyError naming everything that is missing, and how to get it.

    A policy that is configured must be met, whether it is required or not.
    """
    wanted = set(require)
    if enforce(session, located, purpose="promote") is None and "policy" in wanted:
        raise PolicyError(
            f"{located.reference}: is to meet a policy, and none is configured",
            hint="--policy FILE, MLKIT_POLICY, or the setting policy",
        )
    wanted.discard("policy")
    if not wanted:
        return
    if not keys:
        raise PolicyError(
            f"{located.reference}: nothing can be required of it without keys that are trusted",
            hint="the setting trusted_keys (MLKIT_TRUSTED_KEYS) names their .pub files",
        )
    found = [one for one in evidence_of(session, located, keys) if one.signed_by]
    missing = [f"{kind}: {reason}" for kind in sorted(wanted) if (reason := _missing(kind, found)) is not None]
    if missing:
        told = [f"`{_HINTS[kind]} {located.reference} --key FILE`" for kind in sorted(wanted) if _missing(kind, found)]
        raise PolicyError(
            f"{located.reference}: does not have what is required: {'; '.join(missing)}", hint=", ".join(told)
        )


def _missing(kind: EvidenceKind, found: Sequence[Evidence]) -> str | None:
    """What is wrong, of what trusted keys have signed."""
    kinds = {kind_of(one) for one in found}
    if kind == "signature":
        return None if "signature" in kinds else "no trusted key has signed it"
    if kind == "checks":
        if failed_checks(found):
            return "its last check failed"
        return None if "checks" in kinds else "no trusted key has signed a result of its checks"
    scans = [one for one in found if one.statement.predicate_type == SCAN]
    if not scans:
        return "no trusted key has signed a scan of it"
    return None if kind_of(newest(scans)) == "scan" else "its last scan is not clean"
