"""What is known of a kit before a channel is moved to it: whether it is whole, its versions, and what is said of it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlkit.api.evidence import Evidence, evidence_of, examine
from mlkit.api.session import Located, Session
from mlkit.content.graph import document, walk
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, UnsafeError, UsageError
from mlkit.packing.kit import load_kit
from mlkit.release.state import LastCheck
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.manifest import Manifest
from mlkit.spec.media_types import CREATED, KIT, VERSION
from mlkit.spec.release import EntryVersion, EvidenceKind, EvidenceRef
from mlkit.spec.statement import COSIGN_SIGN, MODEL_SIGNING, SCAN
from mlkit.spec.test_result import TEST_RESULT, is_passed
from mlkit.trust.keys import PublicKey, read_public_key

_DOCUMENT_LIMIT = 4 * 1024 * 1024  # bytes of a kit document that is worth reading for the versions of entries


@dataclass(frozen=True, slots=True)
class KitFacts:
    """What a release record says of its kit."""

    version: str | None
    entries: tuple[EntryVersion, ...]


def trusted_keys(session: Session) -> Mapping[str, PublicKey]:
    """The keys of the setting `trusted_keys`, by the names of their files. Raises: NotFoundError, UsageError."""
    return {path.stem: read_public_key(path) for path in session.settings.trusted_keys}


def check_whole(store: ReadOnlyStorage, desc: Descriptor, *, threads: int, what: str) -> None:
    """See that everything below a manifest is there. Raises: NotFoundError naming what is missing."""
    blobs = [blob for blob, found in walk(store, desc) if found is None]
    with ThreadPoolExecutor(threads) as pool:
        there = list(pool.map(store.exists, blobs))
    missing = [blob for blob, is_there in zip(blobs, there, strict=True) if not is_there]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotFoundError(
            f"{what}: is not whole there: its blob {missing[0].digest}{others} is missing",
            hint="push the whole kit again",
        )


def facts_of(store: ReadOnlyStorage, desc: Descriptor) -> KitFacts:
    """Versions of a kit and its entries, from its small documents; what is no kit has none."""
    found = document(store, desc)
    entries: tuple[EntryVersion, ...] = ()
    if isinstance(found, Manifest) and found.is_kit:
        told = found.annotations.get(KIT)
        sizes = [layer.size for layer in found.layers if str(layer.digest) == told]
        if max(sizes, default=0) <= _DOCUMENT_LIMIT:
            entries = _entries(store, desc)
    return KitFacts(found.annotations.get(VERSION), entries)


def gather(session: Session, located: Located, keys: Mapping[str, PublicKey]) -> tuple[EvidenceRef, ...]:
    """What counts of what is said of a kit: of the given keys where there are any, of anybody otherwise.

    Where it cannot be had, people are told, and there is none.
    """
    try:
        found = evidence_of(session, located, keys)
    except MlkitError as error:
        session.progress.warn(f"{located.reference}: what is said of it cannot be had: {error.message}")
        return ()
    return tuple(
        EvidenceRef(kind, one.digest, one.signed_by)
        for one in counting(found, keys)
        if (kind := kind_of(one)) is not None
    )


def failed_checks(found: Iterable[Evidence]) -> bool:
    """Whether the last test result says that a check failed; `found` is what counts."""
    last = _last_check(found)
    return last is not None and not last.passed


def last_check(
    session: Session, located: Located, keys: Mapping[str, PublicKey], *, tags: Container[str] | None = None
) -> LastCheck | None:
    """What the newest result of a kit's checks says today, as `promote` and `rollback` find it; None without any.

    Of what is attached nothing else is fetched. `tags`: see `examine`. Raises: what the store raises.
    """
    return _last_check(counting(examine(session, located, keys, tags=tags, only=TEST_RESULT).evidence, keys))


def counting(found: Iterable[Evidence], keys: Mapping[str, PublicKey]) -> tuple[Evidence, ...]:
    """What the given keys have signed; without any, all of it: whoever trusts nobody cannot tell friend from foe."""
    return tuple(one for one in found if one.signed_by or not keys)


def newest(found: Iterable[Evidence]) -> Evidence:
    """What was said last, as its signer tells the time; of what was said in one second, what shows nothing good.

    Times are of whole seconds.
    """
    return max(found, key=lambda one: (_said_at(one), kind_of(one) is None, one.digest))


def kind_of(one: Evidence) -> EvidenceKind | None:
    """What a statement shows; None where that is nothing good."""
    kind, predicate = one.statement.predicate_type, one.statement.predicate
    if kind in (COSIGN_SIGN, MODEL_SIGNING):
        return "signature"
    if kind == TEST_RESULT:
        return "checks" if is_passed(predicate) else None
    if kind == SCAN:
        return "scan" if predicate.get("verdict") == "clean" else None
    return None


def _last_check(found: Iterable[Evidence]) -> LastCheck | None:
    results = [one for one in found if one.statement.predicate_type == TEST_RESULT]
    if not results:
        return None
    last = newest(results)
    return LastCheck(is_passed(last.statement.predicate), _said_at(last) or None, last.signed_by, last.digest)


def _said_at(one: Evidence) -> str:
    return max((subject.annotations.get(CREATED, "") for subject in one.statement.subjects), default="")


def _entries(store: ReadOnlyStorage, desc: Descriptor) -> tuple[EntryVersion, ...]:
    try:
        kit = load_kit(store, desc)
    except (IntegrityError, UnsafeError, UsageError, LimitError, NotFoundError):
        return ()
    return tuple(EntryVersion(entry.id, entry.name, entry.version) for entry in kit.entries)
