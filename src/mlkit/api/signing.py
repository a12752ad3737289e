"""Standing for kits: sign and attest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlkit.api.evidence import attach_bundle, attach_statement, bundle_of, examine, moment
from mlkit.api.predicates import made_predicate, write_output
from mlkit.api.session import Located, Session, Source
from mlkit.api.simple_signatures import attach_simple
from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, predicate_type_of
from mlkit.trust.keys import PrivateKey
from mlkit.trust.signer import Signer

PREDICATE_LIMIT = 2 * 1024 * 1024
"""Bytes of a predicate; in base64 and signed it must fit into a bundle of 4 MiB."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was attached to a kit."""

    reference: str
    digest: Digest
    """Of the kit."""
    attached: Digest
    """Of the manifest of the signature or attestation."""
    predicate_type: str
    key_id: str
    found: Source
    """Where the kit is, and the signature now too."""
    simple_signature: Digest | None = None
    """Of the manifest of signatures in cosign's older form, where one was asked for."""


def sign(
    session: Session,
    reference: Reference,
    *,
    signer: Signer,
    legacy: bool = False,
    remote: bool = False,
    now: datetime | None = None,
) -> Signed:
    """Sign what a reference names, kit or not, local first; `legacy` signs in cosign's older form too.

    Raises: NotFoundError; what the store raises.
    """
    return sign_located(session, session.locate(reference, remote=remote), signer=signer, legacy=legacy, now=now)


def sign_located(
    session: Session, located: Located, *, signer: Signer, legacy: bool = False, now: datetime | None = None
) -> Signed:
    """Like `sign`, of what was found already."""
    now = now or datetime.now(UTC)
    simple = None
    if legacy:
        simple = attach_simple(session, located, signer=signer, created=moment(now)).digest
    attached = attach_statement(session, located, COSIGN_SIGN, {}, signer=signer, now=now)
    return _signed(located, attached.digest, COSIGN_SIGN, signer, simple)


def is_signed_by(session: Session, located: Located, signer: Signer) -> bool:
    """Whether a kit has a signature of this very key already; a signer whose public key is elsewhere never has."""
    if not isinstance(signer, PrivateKey):
        return False
    found = examine(session, located, {"own": signer.public}).evidence
    return any(one.signed_by and one.statement.predicate_type == COSIGN_SIGN for one in found)


def attest(
    session: Session,
    reference: Reference,
    predicate_type: str,
    predicate: Mapping[str, Any] | bytes | None,
    *,
    signer: Signer,
    output: Path | None = None,
    remote: bool = False,
    now: datetime | None = None,
) -> Signed:
    """Attach a signed statement to what a reference names; `predicate_type` is a URI or one of its short names.

    Without a predicate it is made from the kit, for those types of which that can be done. `output` gets the bundle,
    too, for programs that read it from a file.
    Raises: UsageError for what is no type or no predicate; NotFoundError; what the store raises.
    """
    try:
        kind = predicate_type_of(predicate_type)
        found = parse_object(predicate, what="the predicate") if isinstance(predicate, bytes) else predicate
        located = session.locate(reference, remote=remote)
        found = made_predicate(session, located, kind) if found is None else found
        bundle = bundle_of(located, kind, found, signer=signer, now=now)
    except IntegrityError as error:
        raise UsageError(error.message, hint=error.hint) from error
    attached = attach_bundle(session, located, bundle)
    if output is not None:
        write_output(output, bundle.raw)
    return _signed(located, attached.digest, kind, signer)


def _signed(
    located: Located, attached: Digest, predicate_type: str, signer: Signer, simple: Digest | None = None
) -> Signed:
    return Signed(
        reference=str(located.reference),
        digest=located.desc.digest,
        attached=attached,
        predicate_type=predicate_type,
        key_id=signer.key_id,
        found=located.source,
        simple_signature=simple,
    )
