"""Signing what is packed, in the same run: that it is ours, and how it came to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlkit import __version__
from mlkit.api.evidence import attach_statement, evidence_of, moment
from mlkit.api.session import Located, Session
from mlkit.api.signing import is_signed_by, sign_located
from mlkit.packing.plan import PackPlan
from mlkit.packing.provenance import LOCAL_BUILDER, BuildRun, pack_provenance
from mlkit.sources import git
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.statement import SLSA_PROVENANCE
from mlkit.trust.keys import PrivateKey
from mlkit.trust.signer import Signer


@dataclass(frozen=True, slots=True)
class Vouched:
    """What was attached to a kit; None where the same was there already."""

    provenance: Digest | None
    signature: Digest | None


def vouch(
    session: Session,
    located: Located,
    plan: PackPlan,
    references: Sequence[str],
    *,
    signer: Signer,
    started: datetime,
    finished: datetime,
) -> Vouched:
    """Attach provenance and a signature to a kit that was just packed, each unless this key has said so before."""
    predicate = _predicate(session, plan, references, started=started, finished=finished)
    attached = None
    if not _is_told(session, located, signer, predicate["buildDefinition"]):
        attached = attach_statement(session, located, SLSA_PROVENANCE, predicate, signer=signer, now=finished).digest
    signed = None
    if not is_signed_by(session, located, signer):
        signed = sign_located(session, located, signer=signer, now=finished).attached
    return Vouched(attached, signed)


def _predicate(
    session: Session, plan: PackPlan, references: Sequence[str], *, started: datetime, finished: datetime
) -> dict[str, object]:
    job = session.settings.ci
    run = BuildRun(
        version=__version__,
        started=moment(started),
        finished=moment(finished),
        builder_id=job.builder_id if job else LOCAL_BUILDER,
        invocation=job.run if job else None,
        user=None if job else session.settings.user,
        ci={"system": job.system, **job.facts} if job else {},
    )
    is_known = any(name == "git.commit" for record in plan.inputs for name, _ in record.facts)
    revision = None if is_known else _revision(plan)
    return pack_provenance(plan, run, references=references, revision=revision)


def _revision(plan: PackPlan) -> InputRecord | None:
    found = git.revision(plan.context)
    if found is None:
        return None
    dirty = {True: "true", False: "false", None: "unknown"}[found.is_dirty]
    return InputRecord("code", uri=found.uri, facts=(("git.commit", found.commit), ("git.dirty", dirty)))


def _is_told(session: Session, located: Located, signer: Signer, definition: object) -> bool:
    """Whether this key has said of this very kit that it was built so: a job that runs again has nothing to add."""
    if not isinstance(signer, PrivateKey):
        return False
    return any(
        one.signed_by
        and one.statement.predicate_type == SLSA_PROVENANCE
        and one.statement.predicate.get("buildDefinition") == definition
        for one in evidence_of(session, located, {"own": signer.public})
    )
