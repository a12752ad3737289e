"""Taking old kits out of a repository of a registry: planned, shown, and then deleted with what refers to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mlkit.api.release_desk import Desk, open_desk
from mlkit.api.session import Session
from mlkit.content.graph import below, document
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, UnsafeError, UsageError
from mlkit.packing.kit import load_kit
from mlkit.registry.store import RegistryStore
from mlkit.release.append import points_at
from mlkit.release.claims import channels_in
from mlkit.release.retention import Decision, Kept, Needed, Rules, bad_ones, plan, versions_of
from mlkit.release.rollback import marks_of
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Index
from mlkit.spec.media_types import CREATED
from mlkit.spec.reference import Reference
from mlkit.spec.release import HISTORY_TAGS, MARKS, Release

_REFERRERS = ("sha256-", "sha512-")  # tags of referrers and of cosign's older scheme: they go with their subject


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was planned for a repository, and what was done."""

    repository: str
    decisions: tuple[Decision, ...]
    removed: tuple[Digest, ...]
    """Kits that were deleted; none for a plan."""
    spared: tuple[Digest, ...]
    """Kits that a channel was moved to after the plan was made."""
    referrers: int
    """Signatures and others that went with them."""
    dry_run: bool


def prune_remote(
    session: Session,
    reference: Reference,
    rules: Rules,
    *,
    dry_run: bool,
    now: Callable[[], datetime] | None = None,
) -> Pruned:
    """Delete the kits of a repository that nothing keeps. What channels need stays whatever the rules are.

    Raises: UsageError for the local store; IntegrityError where a history cannot be read to its beginning, since nobody
    knows then what rollbacks need; NetworkError where the registry does not let anyone delete.
    """
    store = session.registry(reference)
    desk = open_desk(session, reference, writes=False)
    tags = list(desk.store.tags())
    if not tags:
        raise NotFoundError(f"{desk.store.name}: no such repository, or it is empty")
    histories = dict(_histories(desk, tags))
    needed = Needed(
        {
            channel: versions_of(releases, points_at(desk.store, channel))
            for channel, releases in histories.items()
            if channel != MARKS
        },
        bad_ones(marks_of(desk.chain(MARKS, tags).walk())),
    )
    kits = _kits(session, store, tags, histories)
    decisions = plan(kits, needed, rules, now=(now or (lambda: datetime.now(UTC)))())
    done = Pruned(desk.store.name, decisions, (), (), 0, dry_run)
    return done if dry_run else _delete(desk, store, done)


def _histories(desk: Desk, tags: list[str]) -> Iterator[tuple[str, list[Release]]]:
    for channel in sorted(channels_in(tags)):
        chain = desk.chain(channel, tags)
        chain.prefetch(desk.session.settings.concurrency)
        releases = [record.release for record in chain.walk()]
        if chain.problems:
            raise IntegrityError(
                f"{desk.store.name}: the history of {channel} does not verify, and nothing is deleted: "
                f"{chain.problems[0]}"
            )
        yield channel, releases


def _kits(
    session: Session, store: RegistryStore, tags: list[str], histories: Mapping[str, list[Release]]
) -> list[Kept]:
    told = _moments(histories)
    names = [tag for tag in tags if not tag.startswith((*_REFERRERS, HISTORY_TAGS))]
    with ThreadPoolExecutor(session.settings.concurrency) as threads:
        tagged: defaultdict[Digest, list[str]] = defaultdict(list)
        found: dict[Digest, Descriptor] = {}
        for name, desc in zip(names, threads.map(store.find, names), strict=True):
            if desc is not None:
                tagged[desc.digest].append(name)
                found[desc.digest] = desc
        return list(threads.map(lambda desc: _kit(store, desc, tuple(tagged[desc.digest]), told), found.values()))


def _kit(store: RegistryStore, desc: Descriptor, tags: tuple[str, ...], told: Mapping[Digest, datetime]) -> Kept:
    found = document(store, desc)
    moments = [moment for moment in (told.get(desc.digest), _moment(found.annotations.get(CREATED))) if moment]
    with suppress(MlkitError):  # who cannot list referrers does not know their times
        moments += [
            moment
            for referrer in store.referrers(desc)
            if (moment := _moment(referrer.annotations.get(CREATED))) is not None
        ]
    needs = {child.digest for child in below(found)} if isinstance(found, Index) else set(_bases(store, desc))
    return Kept(desc.digest, tags, min(moments, default=None), frozenset(needs))


def _bases(store: RegistryStore, desc: Descriptor) -> Iterator[Digest]:
    """The kits of the same repository that a kit's model is based on, or its datasets are."""
    try:
        kit = load_kit(store, desc)
    except (IntegrityError, LimitError, NotFoundError, UnsafeError, UsageError):
        return
    for made_from in kit.document.inputs if kit.document else ():
        if made_from.digest is not None:
            yield made_from.digest


def _moments(histories: Mapping[str, list[Release]]) -> dict[Digest, datetime]:
    """The first time that a record names each kit."""
    found: dict[Digest, datetime] = {}
    for releases in histories.values():
        for release in releases:
            for digest in (release.to, release.from_):
                if digest is not None:
                    found[digest] = min(release.moment, found.get(digest, release.moment))
    return found


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _delete(desk: Desk, store: RegistryStore, planned: Pruned) -> Pruned:
    going = [decision.kit for decision in planned.decisions if not decision.is_kept]
    removed: list[Digest] = []
    spared: list[Digest] = []
    referrers = 0
    for kit in going:
        # Somebody may have promoted it since: looked at again right before, as late as can be.
        if kit.digest in _in_use(desk):
            spared.append(kit.digest)
            continue
        desc = desk.store.find(str(kit.digest))
        if desc is None:
            continue
        along = list(store.referrers(desc))
        store.delete(desc)
        removed.append(kit.digest)
        for referrer in along:
            with suppress(NotFoundError):
                store.delete(referrer)
                referrers += 1
    return replace(planned, removed=tuple(removed), spared=tuple(spared), referrers=referrers)


def _in_use(desk: Desk) -> set[Digest]:
    tags = list(desk.store.tags())
    found: set[Digest] = set()
    for channel in channels_in(tags) - {MARKS}:
        head = desk.chain(channel, tags).head()
        found.update(digest for digest in (points_at(desk.store, channel), head and head.release.to) if digest)
    return found
