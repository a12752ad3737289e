"""What is said of kits: statements attached as referrers, signed, and what of that is there and holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from mlkit.api.session import Located, Session
from mlkit.content.referrers import COUNT_LIMIT
from mlkit.content.storage import BytesContent, ReadOnlyStorage, Target, read_blob
from mlkit.errors import IntegrityError, LimitError, UsageError
from mlkit.spec.bundle import BUNDLE_LIMIT, parse_bundle, render_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import SIGNATURE_LIMIT
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import (
    BUNDLE_CONTENT,
    BUNDLE_PREDICATE_TYPE,
    CREATED,
    IN_TOTO,
    OCI_EMPTY,
    SIGSTORE_BUNDLE,
)
from mlkit.spec.statement import Statement, Subject, parse_statement
from mlkit.trust.keys import PublicKey, is_encrypted, parse_private_key, read_private_key
from mlkit.trust.signer import Signer, sign_statement, signers_of

_EMPTY = b"{}"
_PASSWORD_LIMIT = 4096  # bytes of a file with a password in it


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signature or attestation that was found on a kit, and whose it is."""

    digest: Digest
    """Of the referrer's manifest."""
    statement: Statement
    """It names the kit."""
    signed_by: tuple[str, ...]
    """The names of the given keys whose signature holds; empty: nobody we know."""
    key_id: str | None
    """What the bundle says of its key: a hint, that anybody may have written."""


def attach_statement(
    session: Session,
    located: Located,
    predicate_type: str,
    predicate: Mapping[str, object],
    *,
    signer: Signer,
    now: datetime | None = None,
) -> Descriptor:
    """Say something of a kit, signed, as a referrer of it where it was found; gives the referrer's descriptor.

    When it was said stands in the signed subject. Raises: what the store raises.
    """
    created = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    subject = Subject(located.reference.name, located.desc.digest, {CREATED: created})
    bundle = render_bundle(sign_statement(Statement((subject,), predicate_type, predicate), signer))
    layer = Descriptor.of(bundle, SIGSTORE_BUNDLE)
    config = Descriptor.of(_EMPTY, OCI_EMPTY)
    manifest = render_manifest(
        config=config,
        layers=(layer,),
        artifact_type=SIGSTORE_BUNDLE,
        annotations={CREATED: created, BUNDLE_CONTENT: "dsse-envelope", BUNDLE_PREDICATE_TYPE: predicate_type},
        subject=located.desc.bare,
    )
    target = _target(session, located)
    target.push(config, BytesContent(_EMPTY))
    target.push(layer, BytesContent(bundle))
    target.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest.descriptor


def evidence_of(session: Session, located: Located, keys: Mapping[str, PublicKey]) -> tuple[Evidence, ...]:
    """The signatures and attestations on a kit; at most 1,000 referrers and 64 bundles are looked at.

    A broken one is told of, and is no evidence. Raises: what the store raises that holds them.
    """
    store: ReadOnlyStorage = session.layout if located.source == "local" else session.remote(located.reference)
    found: list[Evidence] = []
    for number, referrer in enumerate(_bundles(session, located)):
        if number >= SIGNATURE_LIMIT:
            session.progress.warn(f"{located.desc.digest}: only the first {SIGNATURE_LIMIT} signatures are looked at")
            break
        try:
            found.append(_evidence(store, referrer, located.desc.digest, keys))
        except (IntegrityError, LimitError) as error:
            session.progress.warn(f"{located.reference}: a signature that is none: {error.message}")
    return tuple(found)


def signer_for(session: Session, key: Path | None = None) -> Signer | None:
    """The private key to sign with: `key`, else the setting `signing_key`; None where there is neither.

    Raises: NotFoundError, UsageError for what is no key; AuthError without its password.
    """
    path = key or session.settings.signing_key
    if path is None:
        return None
    raw = read_private_key(path)
    password = _password(session, path) if is_encrypted(raw) else None
    return parse_private_key(raw, password, what=str(path))


def _password(session: Session, path: Path) -> str | None:
    given = session.settings.key_password
    if given is None:
        return session.ask_secret(f"Password of {path}") if session.ask_secret else None
    if given.file is None:
        return given.text
    try:
        with given.file.open("rb") as stream:
            raw = stream.read(_PASSWORD_LIMIT + 1)
        if len(raw) > _PASSWORD_LIMIT:
            raise UsageError(f"{given.file}: more than {_PASSWORD_LIMIT} bytes, which no password has")
        # One line end is the editor's; anything else belongs to the password.
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{given.file}: no password can be read there ({given.source})") from error


def _target(session: Session, located: Located) -> Target:
    return session.layout if located.source == "local" else session.registry(located.reference)


def _bundles(session: Session, located: Located) -> Iterator[Descriptor]:
    referrers = _referrers(session, located)
    return (desc for desc in islice(referrers, COUNT_LIMIT) if desc.artifact_type == SIGSTORE_BUNDLE)


def _referrers(session: Session, located: Located) -> Iterator[Descriptor]:
    if located.source == "local":
        return session.layout.referrers(located.desc)
    return session.remote(located.reference).referrers(located.desc)


def _evidence(store: ReadOnlyStorage, referrer: Descriptor, digest: Digest, keys: Mapping[str, PublicKey]) -> Evidence:
    what = str(referrer.digest)
    raw = read_blob(store, referrer, limit=MANIFEST_LIMIT)
    manifest = parse_manifest(raw, media_type=referrer.media_type, what=what)
    if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
        raise IntegrityError(f"{what}: a bundle has one layer")
    bundle = parse_bundle(read_blob(store, manifest.layers[0], limit=BUNDLE_LIMIT), what=what)
    if bundle.envelope.payload_type != IN_TOTO:
        raise IntegrityError(f"{what}: holds {ascii(bundle.envelope.payload_type)[:100]} (expected {IN_TOTO})")
    statement = parse_statement(bundle.envelope.payload, what=what)
    if not statement.names(digest):
        raise IntegrityError(f"{what}: is about other content than {digest}")
    return Evidence(referrer.digest, statement, signers_of(bundle.envelope, keys), bundle.hint)
