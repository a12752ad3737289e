"""Bundles in files, held against kits: those of OpenSSF model-signing, and any statement that names the kit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlkit.api.predicates import files_of_kit
from mlkit.api.session import Located, Session
from mlkit.api.verifying import load_keys
from mlkit.errors import IntegrityError, NotFoundError, PolicyError, StoreError, UsageError
from mlkit.spec.bundle import BUNDLE_LIMIT, parse_bundle
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.statement import MODEL_SIGNING, Statement, parse_statement
from mlkit.trust.model_signing import files_of, is_ignored
from mlkit.trust.signer import signers_of

_SHOWN = 3  # files in one message


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle whose signature holds, and that speaks of the kit."""

    reference: str
    digest: Digest
    predicate_type: str
    signed_by: tuple[str, ...]
    """Files of the given keys."""
    files: int | None
    """How many files it lists, all of them the kit's; None where it names the kit as a whole."""


def verify_bundle(
    session: Session, reference: Reference, file: Path, *, keys: Iterable[Path] = (), remote: bool = False
) -> VerifiedBundle:
    """Check a bundle in a file: that one of `keys`, or of the setting `trusted_keys`, signed it, and about this kit.

    Of model-signing, every file that it lists must be in the kit with that digest, and no file of the kit left out but
    those that it says it ignores; the kit's documents are read for that, and no layer.
    Raises: PolicyError where the signature is nobody's, or is about something else; UsageError without keys.
    """
    known = load_keys(tuple(keys) or session.settings.trusted_keys)
    if not known:
        raise UsageError("no key to verify with", hint="--key names one, or the setting trusted_keys")
    what = str(file)
    located = session.locate(reference, remote=remote)
    try:
        envelope = parse_bundle(_read(file), what=what).envelope
        signed_by = signers_of(envelope, known)
        if not signed_by:
            raise PolicyError(f"{what}: not verified: not signed by {' or '.join(known)}")
        statement = parse_statement(envelope.payload, what=what)
        listed = files_of(statement) if statement.predicate_type == MODEL_SIGNING else None
    except IntegrityError as error:
        raise PolicyError(f"not verified: {error.message}", hint=error.hint) from error
    if listed is not None:
        _check_files(session, located, statement, listed, what)
    elif not statement.names(located.desc.digest):
        raise PolicyError(f"{what}: not verified: it is about other content than {located.desc.digest}")
    return VerifiedBundle(
        reference=str(reference),
        digest=located.desc.digest,
        predicate_type=statement.predicate_type,
        signed_by=signed_by,
        files=None if listed is None else len(listed),
    )


def _check_files(
    session: Session, located: Located, statement: Statement, listed: dict[str, Digest], what: str
) -> None:
    files = files_of_kit(session, located)
    wrong = [path for path, digest in listed.items() if files.get(path) != digest]
    wrong += [path for path in files if path not in listed and not is_ignored(path, statement)]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        shown = ", ".join(ascii(path)[1:-1][:200] for path in sorted(wrong)[:_SHOWN])
        raise PolicyError(
            f"{what}: not verified: it is about other files than {located.reference} has: {shown}{more} differ"
        )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            raw = stream.read(BUNDLE_LIMIT + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{file}: no such file") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror}") from error
    return raw
