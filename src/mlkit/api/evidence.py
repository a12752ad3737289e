"""What is said of kits: statements attached as referrers, signed, and what of that is there and holds."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlkit.api.cosign_tags import local_names
from mlkit.api.session import Located, Session
from mlkit.api.signers import signer_for as signer_for
from mlkit.content.graph import document
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent, Target
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError
from mlkit.spec.bundle import BUNDLE_LIMIT, render_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import BUNDLE_CONTENT, BUNDLE_PREDICATE_TYPE, CREATED, OCI_EMPTY, SIGSTORE_BUNDLE
from mlkit.spec.simple_signing import attestation_tag, signature_tag
from mlkit.spec.statement import MODEL_SIGNING, Statement, Subject
from mlkit.trust import model_signing
from mlkit.trust.attached import Attached, Form, is_bundle, older_layers, read_bundle, read_older
from mlkit.trust.keys import PublicKey
from mlkit.trust.signer import Signer, sign_statement

if TYPE_CHECKING:
    from mlkit.registry.mirrors import MirroredStore
    from mlkit.registry.store import RegistryStore

_EMPTY = b"{}"
_REFERRERS = 1000  # that are looked at; a kit with more has been flooded


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
    form: Form = "bundle"
    created: str | None = None
    """When it was made, as the signed statement says."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """What is attached as a signature and is none."""

    digest: Digest
    """Of the manifest that it was found in."""
    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything that is attached to a kit as a signature."""

    evidence: tuple[Evidence, ...]
    unusable: tuple[Unusable, ...]
    unexamined: int = 0
    """Statements whose signatures nobody looked at, since there were too many; they are in neither list."""


@dataclass(frozen=True, slots=True)
class SignedBundle:
    """A bundle, as it is written."""

    raw: bytes
    predicate_type: str
    created: str
    """RFC 3339, as the signed statement says."""


def attach_statement(
    session: Session,
    located: Located,
    predicate_type: str,
    predicate: Mapping[str, object],
    *,
    signer: Signer,
    now: datetime | None = None,
    place: Target | None = None,
) -> Descriptor:
    """Say something of a kit, signed, as a referrer of it where it was found; gives the referrer's descriptor.

    `place` is where it is, for content of another place than the local store or a registry. When it was said stands in
    the signed subject. Raises: LimitError for more than a bundle may hold; what the store raises.
    """
    signed = bundle_of(located, predicate_type, predicate, signer=signer, now=now)
    return attach_bundle(session, located, signed, place=place)


def bundle_of(
    located: Located,
    predicate_type: str,
    predicate: Mapping[str, object],
    *,
    signer: Signer,
    now: datetime | None = None,
) -> SignedBundle:
    """A signed statement about a kit, which is nowhere yet.

    Raises: LimitError for more than a bundle may hold; IntegrityError for a predicate of model-signing that is none.
    """
    created = moment(now)
    name, digest = located.reference.name, located.desc.digest
    if predicate_type == MODEL_SIGNING:
        statement = model_signing.statement_of(predicate, name=name, kit=digest, created=created)
        bundle = replace(sign_statement(statement, signer), hint=model_signing.hint_of(signer))
    else:
        subject = Subject(name, digest, {CREATED: created})
        bundle = sign_statement(Statement((subject,), predicate_type, predicate), signer)
    raw = render_bundle(bundle)
    if len(raw) > BUNDLE_LIMIT:
        raise LimitError(f"{located.reference}: a bundle of {len(raw)} bytes is more than the limit of {BUNDLE_LIMIT}")
    return SignedBundle(raw, predicate_type, created)


def attach_bundle(
    session: Session, located: Located, signed: SignedBundle, *, place: Target | None = None
) -> Descriptor:
    """Put a signed statement beside its kit, as a referrer; gives the referrer's descriptor. See `attach_statement`."""
    bundle = signed.raw
    layer = Descriptor.of(bundle, SIGSTORE_BUNDLE)
    config = Descriptor.of(_EMPTY, OCI_EMPTY)
    manifest = render_manifest(
        config=config,
        layers=(layer,),
        artifact_type=SIGSTORE_BUNDLE,
        annotations={
            CREATED: signed.created,
            BUNDLE_CONTENT: "dsse-envelope",
            BUNDLE_PREDICATE_TYPE: signed.predicate_type,
        },
        subject=located.desc.bare,
    )
    store = target(session, located) if place is None else place
    store.push(config, BytesContent(_EMPTY))
    store.push(layer, BytesContent(bundle))
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest.descriptor


def evidence_of(session: Session, located: Located, keys: Mapping[str, PublicKey]) -> tuple[Evidence, ...]:
    """The signatures and attestations on a kit, as `examine` finds them; a broken one is told of on the way."""
    found = examine(session, located, keys)
    for one in found.unusable:
        session.progress.warn(f"{located.reference}: {one.digest} is attached as a signature and is none: {one.reason}")
    return found.evidence


def examine(
    session: Session,
    located: Located,
    keys: Mapping[str, PublicKey],
    *,
    tags: Container[str] | None = None,
    only: str | None = None,
) -> Examined:
    """The signatures and attestations on a kit, each with those of `keys` whose signature holds, newest first.

    At most `limits.referrers` are read, and `limits.statements` looked at: first those that say they are of one of the
    keys. A broken one is no evidence and hinders no other. `tags` are those of the repository, where they
    are known: signatures in cosign's older forms lie under tags, which are then not asked for in vain. Where a bundle
    says in its manifest that its predicate is of another type than `only`, it is not fetched.
    Raises: what the store raises that holds them.
    """
    limit = session.settings.limits.statements
    unusable: list[Unusable] = []
    attached = list(_attached(session, located, unusable, tags, only))
    hints = {key.key_id for key in keys.values()}
    # What says nothing of its key may be of any; what says another key goes last, and may have lied.
    attached.sort(key=lambda one: one.created or "", reverse=True)
    attached.sort(key=lambda one: 0 if one.key_id in hints else 1 if one.key_id is None else 2)
    evidence = [
        Evidence(one.digest, one.statement, one.signers(keys), one.key_id, one.form, one.created)
        for one in attached[:limit]
    ]
    return Examined(tuple(evidence), tuple(unusable), max(0, len(attached) - limit))


@dataclass(frozen=True, slots=True)
class AttachedStatement:
    """A signature or attestation by its own word: nobody has looked whether it holds."""

    digest: Digest
    """Of the referrer's manifest."""
    form: Form
    predicate_type: str
    created: str | None
    key_id: str | None


def attached_to(session: Session, located: Located) -> tuple[AttachedStatement, ...]:
    """What is attached to a kit, whoever signed it. Raises: what the store raises."""
    return tuple(
        AttachedStatement(one.digest, one.form, one.statement.predicate_type, one.created, one.key_id)
        for one in examine(session, located, {}).evidence
    )


def target(session: Session, located: Located) -> Target:
    """The store that holds a kit, to attach something to it there."""
    return session.layout if located.source == "local" else session.registry(located.reference)


def moment(now: datetime | None) -> str:
    """A time, or this one, as RFC 3339 in UTC to the second."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _attached(
    session: Session, located: Located, unusable: list[Unusable], tags: Container[str] | None, only: str | None
) -> Iterator[Attached]:
    subject = located.desc.digest
    store = session.layout if located.source == "local" else session.remote(located.reference)

    def broken(listed: Descriptor, error: MlkitError) -> None:
        # A damaged kit in the same store is no signature, and somebody else's trouble.
        if listed.artifact_type in (None, SIGSTORE_BUNDLE):
            unusable.append(Unusable(listed.digest, error.message))

    for number, referrer in enumerate(store.referrers(located.desc, broken=broken)):
        if number >= _REFERRERS:
            raise LimitError(f"{located.reference}: more than {_REFERRERS} referrers")
        if only is not None and referrer.annotations.get(BUNDLE_PREDICATE_TYPE, only) != only:
            continue
        try:
            found = document(store, referrer)
            if isinstance(found, Manifest) and is_bundle(found):
                yield read_bundle(store, found, subject)
        except (IntegrityError, LimitError, NotFoundError) as error:
            unusable.append(Unusable(referrer.digest, error.message))
    for tag in (signature_tag(subject), attestation_tag(subject)):
        if tags is None or tag in tags:
            yield from _older(session, located, tag, unusable)


def _older(session: Session, located: Located, tag: str, unusable: list[Unusable]) -> Iterator[Attached]:
    """Signatures in cosign's older forms, under a tag of the same repository."""
    if located.source == "remote":
        yield from _older_under(session, session.remote(located.reference), tag, located, unusable)
        return
    for name in local_names(session.layout, tag):
        yield from _older_under(session, session.layout, name, located, unusable)


def _older_under(
    session: Session,
    store: Layout | RegistryStore | MirroredStore,
    name: str,
    located: Located,
    unusable: list[Unusable],
) -> Iterator[Attached]:
    try:
        desc = store.find(name)
        found = document(store, desc) if desc is not None else None
        if desc is None or not isinstance(found, Manifest):
            return
        layers = older_layers(found, what=name, limit=session.settings.limits.statements)
    except (IntegrityError, LimitError, NotFoundError) as error:
        session.progress.warn(f"{located.reference.name}: {name} holds no signatures: {error.message}")
        return
    for layer in layers:
        try:
            yield read_older(store, desc.digest, layer, located.desc.digest)
        except (IntegrityError, LimitError, NotFoundError) as error:
            unusable.append(Unusable(desc.digest, error.message))
