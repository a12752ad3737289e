"""What runs where, and how it came to: the state of channels and their histories. Nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from mlkit.api.kit_facts import last_check
from mlkit.api.release_desk import Desk, open_desk
from mlkit.api.session import Located, Session
from mlkit.errors import MlkitError, NotFoundError
from mlkit.release.chain import Chain
from mlkit.release.claims import channels_in
from mlkit.release.records import Record
from mlkit.release.rollback import marks_of
from mlkit.release.state import ChannelState, LastCheck, RepositoryState, differences_of, drift_of
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.release import MARKS, Release, Verdict


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One record, as it is shown."""

    release: Release
    record: Digest
    is_signed: bool
    signed_by: tuple[str, ...]
    """The trusted keys whose signature holds."""
    is_trusted: bool | None
    """Whether a trusted key signed it, or a later record of the chain; None where no key is trusted."""
    is_loser: bool
    """Whether it was wanted under this number, and another one became it."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """The records of one channel, newest first."""

    repository: str
    channel: str
    entries: tuple[HistoryEntry, ...]
    problems: tuple[str, ...]
    """Why it does not verify; empty where it does."""
    notes: tuple[str, ...]
    is_trusted: bool | None
    """Whether its last record is."""


def history(session: Session, reference: Reference, channel: str | None = None) -> tuple[ChannelHistory, ...]:
    """Who moved what, when and why, of one channel or of all; marks too, where no channel is named.

    Raises: NotFoundError where there is none. What is wrong with a history stands in it.
    """
    desk = open_desk(session, reference, writes=False)
    tags = list(desk.store.tags())
    channels = sorted(channels_in(tags)) if channel is None else [channel]
    found = tuple(_history(desk, name, tags) for name in channels)
    if not any(one.entries or one.problems for one in found):
        known = sorted(channels_in(tags) - {MARKS})
        told = f" (channels: {', '.join(known[:20])})" if known else ""
        raise NotFoundError(
            f"{desk.store.name}: no history" + (f" of a channel {ascii(channel)[1:-1][:80]}" if channel else "") + told,
            hint="`mlkit promote REF CHANNEL` begins one",
        )
    return found


def status(session: Session, references: Sequence[Reference], *, recent: int = 0) -> tuple[RepositoryState, ...]:
    """What every channel of some repositories points at, with the last `recent` records of each.

    With what the checks of each kit say today, which is asked once for each, however many channels point at it.
    One that cannot be read does not hide the others.
    """
    desks = [open_desk(session, reference, writes=False) for reference in references]
    with ThreadPoolExecutor(max(8, session.settings.concurrency)) as threads:
        seen = list(threads.map(lambda desk: _state(desk, recent), desks))
        kits = {(number, kit.digest): kit for number, one in enumerate(seen) for kit in one.kits.values()}
        checks = threads.map(lambda item: _last_check(desks[item[0][0]], item[1], seen[item[0][0]].tags), kits.items())
        found = dict(zip(kits, checks, strict=True))
    return tuple(
        replace(one.state, channels=tuple(_checked(channel, found, number) for channel in one.state.channels))
        for number, one in enumerate(seen)
    )


def _history(desk: Desk, channel: str, tags: Collection[str]) -> ChannelHistory:
    chain = desk.chain(channel, tags)
    chain.prefetch(desk.session.settings.concurrency)
    try:
        records = list(chain.walk())
    except MlkitError as error:
        return ChannelHistory(desk.store.name, channel, (), (*chain.problems, error.message), (), None)
    entries = tuple(_entries(desk, chain, records))
    return ChannelHistory(
        repository=desk.store.name,
        channel=channel,
        entries=entries,
        problems=tuple(chain.problems),
        notes=tuple(chain.notes),
        is_trusted=entries[0].is_trusted if entries else None,
    )


def _entries(desk: Desk, chain: Chain, records: Sequence[Record]) -> Iterator[HistoryEntry]:
    is_vouched = False
    for position, record in enumerate(records):
        signed_by = desk.signers(record)
        is_vouched = is_vouched or bool(signed_by)
        before = records[position + 1] if position + 1 < len(records) else None
        yield HistoryEntry(
            record.release,
            record.digest,
            record.envelope is not None,
            signed_by,
            is_vouched if desk.keys else None,
            False,
            tuple(_notes(record.release, before.release if before else None)),
        )
        for loser in chain.losers(record.release.sequence, record):
            yield HistoryEntry(
                loser.release,
                loser.digest,
                loser.envelope is not None,
                desk.signers(loser),
                None,
                True,
                ("another record won this number",),
            )


def _notes(release: Release, before: Release | None) -> Iterator[str]:
    if before is None:
        return
    if release.moment < before.moment:
        yield f"its clock is behind that of record {before.sequence} ({before.at})"
    if release.action != "mark" and release.from_ != before.to:
        found = "no tag" if release.from_ is None else str(release.from_)
        yield f"found {found}, and not what record {before.sequence} says: another program had moved the channel"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A repository, and what its channels' tags point at, whose checks nobody has asked for yet."""

    state: RepositoryState
    kits: Mapping[str, Descriptor]
    """By channel."""
    tags: Collection[str]


def _state(desk: Desk, recent: int) -> _Seen:
    kits: dict[str, Descriptor] = {}
    try:
        tags = list(desk.store.tags())
        marks = marks_of(desk.chain(MARKS, tags).walk())
        verdicts = {digest: mark.verdict for digest, release in marks.items() for mark in release.marks}
        names = sorted(channels_in(tags) - {MARKS})
        kits = {name: found for name in names if (found := desk.store.find(name)) is not None}
        channels = tuple(_channel(desk, name, tags, kits.get(name), verdicts, recent) for name in names)
    except MlkitError as error:
        return _Seen(RepositoryState(desk.store.name, (), (), error.message), {}, ())
    if not channels:
        return _Seen(RepositoryState(desk.store.name, (), (), "no channel has a history here"), {}, ())
    return _Seen(RepositoryState(desk.store.name, channels, differences_of(channels)), kits, tags)


def _channel(
    desk: Desk,
    name: str,
    tags: Collection[str],
    kit: Descriptor | None,
    verdicts: dict[Digest, Verdict],
    recent: int,
) -> ChannelState:
    digest = None if kit is None else kit.digest
    chain = desk.chain(name, tags)
    try:
        head = chain.head()
        problem = None if head is not None else "its history holds nothing that was finished"
    except MlkitError as error:
        head, problem = None, error.message
    return ChannelState(
        channel=name,
        digest=digest,
        release=head.release if head else None,
        record=head.digest if head else None,
        is_signed=head is not None and head.envelope is not None,
        signed_by=desk.signers(head) if head else (),
        mark=verdicts.get(digest) if digest else None,
        drift=drift_of(digest, head.release.to if head else None),
        problem=problem,
        recent=tuple(record.release for record in islice(chain.walk(head), recent)) if head and recent else (),
    )


def _last_check(desk: Desk, kit: Descriptor, tags: Collection[str]) -> LastCheck | str | None:
    """What its checks say today, or why that cannot be had."""
    session, reference = desk.session, desk.reference.with_digest(kit.digest)
    try:
        if reference.host is None:
            return last_check(session, Located(reference, kit, session.layout, "local"), desk.keys)
        return last_check(session, Located(reference, kit, session.registry(reference), "remote"), desk.keys, tags=tags)
    except MlkitError as error:
        return error.message


def _checked(
    state: ChannelState, found: Mapping[tuple[int, Digest], LastCheck | str | None], number: int
) -> ChannelState:
    check = None if state.digest is None else found[number, state.digest]
    if isinstance(check, str):
        return replace(state, check_problem=check)
    return replace(state, check=check)
