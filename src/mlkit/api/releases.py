"""Channels: promote, roll back, mark. A channel is a tag, and its history is kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mlkit import __version__
from mlkit.api.evidence import evidence_of
from mlkit.api.hooks import announce
from mlkit.api.kit_facts import check_whole, counting, facts_of, failed_checks, gather
from mlkit.api.partial import how_to_complete
from mlkit.api.policies import enforce
from mlkit.api.release_desk import Desk, lost, open_desk
from mlkit.api.requirements import check_requirements
from mlkit.api.session import Session
from mlkit.errors import ConflictError, IntegrityError, MlkitError, NotFoundError, PolicyError, UsageError
from mlkit.release.append import Timing, points_at, settle
from mlkit.release.chain import Chain
from mlkit.release.records import Record
from mlkit.release.rollback import Candidate, PassedOver, choose, is_bad, marks_of
from mlkit.release.store import check_channel
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.release import MARKS, Action, EvidenceKind, EvidenceRef, Mark, Release, Verdict


@dataclass(frozen=True, slots=True)
class Move:
    """A channel that was moved, or would be."""

    repository: str
    """With its host."""
    channel: str
    action: Action
    digest: Digest
    """What the channel points at now."""
    version: str | None
    before: Digest | None
    """What it pointed at until then; the same digest where nothing had to be moved."""
    before_version: str | None
    sequence: int | None
    """Number of the record; None for a dry run."""
    record: Digest | None
    is_signed: bool
    """Whether the record is signed."""
    evidence: tuple[EvidenceRef, ...]
    passed_over: tuple[PassedOver, ...] = ()
    message: str | None = None
    reason: str | None = None
    is_new: bool = True
    """False where the channel was there already, and no record was written."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """A kit that somebody found good or bad."""

    repository: str
    digest: Digest
    verdict: Verdict
    sequence: int
    record: Digest
    is_signed: bool
    message: str | None


def promote(
    session: Session,
    reference: Reference,
    channel: str,
    *,
    message: str | None = None,
    expect: Digest | None = None,
    require: Collection[EvidenceKind] = (),
    key: Path | None = None,
    accept_untrusted: bool = False,
    dry_run: bool = False,
    now: Callable[[], datetime] | None = None,
    timing: Timing | None = None,
) -> Move:
    """Let a channel point at a kit, and write down that it does.

    Raises: NotFoundError for a kit that is not there or not whole; PolicyError naming every requirement that is not
    met; ConflictError where the channel is not at `expect`, or somebody else moved it meanwhile; IntegrityError where
    its history is broken. Then the channel is as it was.
    """
    check_channel(channel)
    desk = open_desk(session, reference, key=key, writes=not dry_run, now=now, timing=timing)
    located = desk.locate(reference)
    if located.is_partial:
        raise NotFoundError(f"{reference}: is partial here", hint=how_to_complete(reference, located.desc))
    check_whole(located.store, located.desc, threads=session.settings.concurrency, what=str(reference))
    tags = list(desk.store.tags())
    chain = desk.chain(channel, tags)
    head = chain.head()
    desk.check_head(chain, head, accept_untrusted=accept_untrusted, writes=not dry_run)
    _check_mark(marks_of(desk.chain(MARKS, tags).walk()).get(located.desc.digest), str(reference))
    current = points_at(desk.store, channel)
    _check_expected(desk, channel, current, expect)
    if head is None and expect is None and current not in (None, located.desc.digest):
        raise ConflictError(
            f"{desk.store.name}:{channel}: is a tag without a history, at {current}: another program made it, or its "
            "history was deleted",
            hint=f"--expect {current} makes a channel of it; a channel is no tag of a version",
        )
    _tell_of_moves_outside(desk, head, current, channel)
    check_requirements(session, located, require, desk.keys)
    facts = facts_of(located.store, located.desc)
    move = Move(
        repository=desk.store.name,
        channel=channel,
        action="promote",
        digest=located.desc.digest,
        version=facts.version,
        before=current,
        before_version=_version_of(head, current),
        sequence=None,
        record=None,
        is_signed=desk.signer is not None,
        evidence=gather(session, located, desk.keys),
        message=message,
        dry_run=dry_run,
    )
    if head is not None and head.release.to == move.digest:
        if not dry_run:
            settle(chain)  # a promoter may have died before the tag had moved
        return replace(move, is_new=False, sequence=head.release.sequence, record=head.digest)
    if dry_run:
        return move
    release = Release(
        repository=desk.repository,
        channel=channel,
        action="promote",
        sequence=1,
        previous=None,
        to=move.digest,
        from_=current,
        at=desk.at(),
        by=desk.by,
        message=message,
        reference=str(reference),
        version=facts.version,
        entries=facts.entries,
        required=tuple(kind for kind in require),
        evidence=move.evidence,
        mlkit=__version__,
    )
    return _write(desk, chain, head, release, move)


def rollback(
    session: Session,
    reference: Reference,
    channel: str,
    *,
    to: Reference | None = None,
    expect: Digest | None = None,
    mark_bad: bool = False,
    message: str | None = None,
    reason: str | None = None,
    key: Path | None = None,
    accept_untrusted: bool = False,
    dry_run: bool = False,
    now: Callable[[], datetime] | None = None,
    timing: Timing | None = None,
) -> Move:
    """Let a channel point at the last version that was good: see `mlkit.release.rollback.choose`, or at `to`.

    Only from `expect`, where that is given. `mark_bad` marks what it leaves. `reason` is why, where nobody decided it.
    Raises: NotFoundError where no version is left, saying why each was passed over; otherwise like `promote`.
    """
    check_channel(channel)
    desk = open_desk(session, reference, key=key, writes=not dry_run, now=now, timing=timing)
    chain = desk.chain(channel)
    head = chain.head()
    current = points_at(desk.store, channel)
    if head is None:
        raise NotFoundError(
            f"{desk.store.name}: no history of a channel {channel}",
            hint="`mlkit promote REF CHANNEL` begins one; `mlkit status` shows those that there are",
        )
    desk.check_head(chain, head, accept_untrusted=accept_untrusted, writes=not dry_run)
    _check_expected(desk, channel, current, expect)
    _tell_of_moves_outside(desk, head, current, channel)
    passed: tuple[PassedOver, ...] = ()
    if to is not None:
        candidate = _named(desk, to, chain, head)
    else:
        marks = marks_of(desk.chain(MARKS).walk())
        choice = choose(
            chain.walk(head), current=current, marks=marks, objection=lambda one: _objection(desk, one, channel)
        )
        if choice.candidate is None:
            raise _nothing_left(desk, channel, choice.passed_over, chain)
        candidate, passed = choice.candidate, choice.passed_over
    for problem in chain.problems:
        session.progress.warn(f"{desk.store.name}: {problem}")
    move = Move(
        repository=desk.store.name,
        channel=channel,
        action="rollback",
        digest=candidate.digest,
        version=candidate.release.version,
        before=current,
        before_version=_version_of(head, current),
        sequence=None,
        record=None,
        is_signed=desk.signer is not None,
        evidence=candidate.release.evidence,
        passed_over=passed,
        message=message,
        reason=reason,
        dry_run=dry_run,
    )
    if dry_run:
        return move
    if mark_bad and current is not None:
        _mark(desk, current, "bad", message or reason, version=move.before_version)
    if candidate.digest == current and head.release.to == current:
        return replace(move, is_new=False, sequence=head.release.sequence, record=head.digest)
    release = replace(
        candidate.release,
        action="rollback",
        from_=current,
        at=desk.at(),
        by=desk.by,
        message=message,
        reason=reason,
        marks=(),
        required=(),
        mlkit=__version__,
    )
    return _write(desk, chain, head, release, move)


def mark(
    session: Session,
    reference: Reference,
    verdict: Verdict,
    *,
    message: str | None = None,
    key: Path | None = None,
    accept_untrusted: bool = False,
    now: Callable[[], datetime] | None = None,
    timing: Timing | None = None,
) -> Marked:
    """Write down that a kit is good or bad, for all channels of its repository; the last mark counts."""
    desk = open_desk(session, reference, key=key, now=now, timing=timing)
    located = desk.locate(reference)
    marks = desk.chain(MARKS)
    desk.check_head(marks, marks.head(), accept_untrusted=accept_untrusted)
    version = facts_of(located.store, located.desc).version
    record = _mark(desk, located.desc.digest, verdict, message, version=version)
    return Marked(
        desk.store.name,
        located.desc.digest,
        verdict,
        record.release.sequence,
        record.digest,
        record.envelope is not None,
        message,
    )


def _write(desk: Desk, chain: Chain, head: Record | None, release: Release, move: Move) -> Move:
    appended = desk.append(
        chain, head, lambda sequence, previous: replace(release, sequence=sequence, previous=previous)
    )
    record = appended.record
    if not appended.is_ours and record.release.to != release.to:
        raise lost(desk, record)
    moved = replace(move, sequence=record.release.sequence, record=record.digest, is_new=appended.is_ours)
    if moved.is_new:
        announce(desk.session, moved, by=release.by, at=release.at)
    return moved


def _mark(desk: Desk, digest: Digest, verdict: Verdict, message: str | None, *, version: str | None) -> Record:
    def release(sequence: int, previous: Digest | None) -> Release:
        return Release(
            repository=desk.repository,
            channel=MARKS,
            action="mark",
            sequence=sequence,
            previous=previous,
            to=digest,
            from_=None,
            at=desk.at(),
            by=desk.by,
            message=message,
            version=version,
            marks=(Mark(digest, verdict),),
            mlkit=__version__,
        )

    return desk.mark(release)


def _check_mark(mark: Release | None, what: str) -> None:
    if is_bad(mark):
        assert mark is not None
        told = f": {ascii(mark.message)[1:-1][:200]}" if mark.message else ""
        raise PolicyError(
            f"{what}: was marked bad by {ascii(mark.by)[1:-1][:100]} at {mark.at}{told}",
            hint=f"`mlkit mark {what} good` takes that back",
        )


def _objection(desk: Desk, candidate: Candidate, channel: str) -> str | None:
    """Why a version that history and marks leave will not do: it is gone, nobody trusted signed it, checks failed."""
    reference = desk.reference.with_tag(channel).with_digest(candidate.digest)
    try:
        located = desk.locate(reference)
        check_whole(located.store, located.desc, threads=desk.session.settings.concurrency, what="it")
    except (NotFoundError, IntegrityError) as error:
        return f"it is not there any more: {error.message}"
    try:
        enforce(desk.session, located, purpose="promote")
    except PolicyError as error:
        return error.message
    try:
        found = evidence_of(desk.session, located, desk.keys)
    except MlkitError as error:
        # Who cannot ask for signatures does not know that they hold; without keys nobody would look at them.
        return f"what is said of it cannot be had: {error.message}" if desk.keys else None
    if desk.keys and not any(one.signed_by for one in found):
        return "no trusted key has signed it"
    return "its last check failed" if failed_checks(counting(found, desk.keys)) else None


def _named(desk: Desk, to: Reference, chain: Chain, head: Record) -> Candidate:
    """The version that a person names. Raises: NotFoundError, UsageError, PolicyError."""
    if to.name != desk.reference.name:
        raise UsageError(
            f"{to}: is not in the repository {desk.reference.name}", hint="channels point into their own repository"
        )
    located = desk.locate(to)
    what = str(to)
    check_whole(located.store, located.desc, threads=desk.session.settings.concurrency, what=what)
    if desk.keys and not any(one.signed_by for one in evidence_of(desk.session, located, desk.keys)):
        raise PolicyError(f"{to}: no trusted key has signed it", hint="`mlkit sign` does")
    enforce(desk.session, located, purpose="promote")
    digest = located.desc.digest
    mark = marks_of(desk.chain(MARKS).walk()).get(digest)
    if is_bad(mark):
        desk.session.progress.warn(f"{to}: was marked bad")
    for record in chain.walk(head):
        if record.release.to == digest:
            return Candidate(digest, record.release)
    facts = facts_of(located.store, located.desc)
    evidence = gather(desk.session, located, desk.keys)
    release = replace(
        head.release, to=digest, reference=what, version=facts.version, entries=facts.entries, evidence=evidence
    )
    return Candidate(digest, release)


def _nothing_left(desk: Desk, channel: str, passed: tuple[PassedOver, ...], chain: Chain) -> NotFoundError:
    shown = "; ".join(f"{one.version or one.digest.short} {one.reason}" for one in passed[:10])
    gap = f"; {chain.problems[-1]}" if chain.problems else ""
    return NotFoundError(
        f"{desk.store.name}: {channel} has no good version to go back to"
        + (f": {shown}{gap}" if passed else f": nothing else was ever promoted to it{gap}"),
        hint="--to REF takes any version; `mlkit mark REF good` lets one be gone back to",
    )


def _check_expected(desk: Desk, channel: str, current: Digest | None, expect: Digest | None) -> None:
    if expect is not None and current != expect:
        points = "there is no such tag" if current is None else f"it points at {current}"
        raise ConflictError(
            f"{desk.store.name}:{channel}: {points} (expected {expect})", hint="`mlkit status` shows what is where"
        )


def _tell_of_moves_outside(desk: Desk, head: Record | None, current: Digest | None, channel: str) -> None:
    if head is not None and current != head.release.to:
        points = "gone" if current is None else f"at {current}"
        desk.session.progress.warn(
            f"{desk.store.name}:{channel}: is {points}, and its history says {head.release.to}: another program moved "
            "it, or the end of the history was deleted"
        )


def _version_of(head: Record | None, digest: Digest | None) -> str | None:
    return head.release.version if head is not None and head.release.to == digest else None
