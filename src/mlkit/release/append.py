"""Adding to a history, and moving the channel's tag to where its history says. Nobody's record is written over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mlkit.errors import ConflictError, IntegrityError, NotFoundError
from mlkit.release.chain import Chain
from mlkit.release.claims import Claim, Look, Pause, Write, agree, value_of
from mlkit.release.records import Record, Seal, make_record, push_record
from mlkit.release.store import Repository
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.release import MARKS, Release

_SETTLING_TRIES = 20  # others that move the same tag between our look and our writing of it


@dataclass(frozen=True, slots=True)
class Timing:
    """Waiting, handed in: seconds that pass, and how long a round of requests takes."""

    sleep: Callable[[float], None]
    random: Callable[[], float]
    """From 0 to 1."""
    unit: float = 0.05
    """Seconds; about what one who is alone needs for a round."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became record N: ours, or that of somebody who was faster."""

    record: Record
    is_ours: bool


def append(
    chain: Chain,
    release: Callable[[int, Digest | None], Release],
    *,
    before: Record | None,
    seal: Seal | None,
    timing: Timing,
) -> Appended:
    """Write the record that comes after `before`; `release` makes it of its number and the previous digest.

    Raises: ConflictError where nobody wins for long; what the store raises. Then the history is as it was, or the
    record is in it, and nothing between.
    """
    sequence = 1 if before is None else before.release.sequence + 1
    previous = None if before is None else before.digest
    record = make_record(release(sequence, previous), seal=seal, before=before)
    record = push_record(chain.store, record, before)
    mine = value_of(record.digest)
    steps = agree(chain.channel, sequence, mine, stale=chain.unfinished(sequence - 1))
    assert record.manifest is not None
    known = {mine: record.manifest.descriptor}
    answer: set[Claim] = set()
    try:
        step = next(steps)
        while True:
            if isinstance(step, Look):
                chain.look()
                answer = {claim for claim in chain.sound(sequence) if _follows(chain, claim.value, sequence, previous)}
                chain.check_uncontested(answer)
            elif isinstance(step, Write):
                value = step.claim.value
                chain.store.tag(known.get(value) or _manifest_of(chain, sequence, value), step.claim.tag)
            elif isinstance(step, Pause):
                timing.sleep(timing.unit * (1 + timing.random() * 2 * step.tries))
            step = steps.send(answer)
    except StopIteration as ended:
        agreed = str(ended.value)
    if agreed == mine:
        return Appended(record, is_ours=True)
    found = chain.record(sequence, agreed)
    if found is None:
        raise IntegrityError(f"{chain.store.name}: record {sequence} of {chain.channel} cannot be read any more")
    return Appended(found, is_ours=False)


def settle(chain: Chain) -> Record | None:
    """Let the channel's tag point where the last record says; gives that record.

    Whoever moves the tag looks at the history again afterwards: a slow writer who put it back finds that out himself.
    Raises: ConflictError where others keep moving it; NotFoundError where the kit is gone.
    """
    for _ in range(_SETTLING_TRIES):
        head = chain.head()
        if head is None or chain.channel == MARKS:
            return head
        if not _moved(chain.store, chain.channel, head.release.to):
            return head
        chain.look()
    raise ConflictError(f"{chain.store.name}:{chain.channel}: others keep moving this tag")


def points_at(store: Repository, channel: str) -> Digest | None:
    """What the channel's tag points at; None where there is no such tag."""
    found = store.find(channel)
    return None if found is None else found.digest


def _moved(store: Repository, channel: str, to: Digest) -> bool:
    """Whether the tag had to be moved."""
    before = points_at(store, channel)
    if before == to:
        return False
    kit = store.find(str(to))
    if kit is None:
        raise NotFoundError(f"{store.name}@{to}: the kit that {channel} is to point at is not there")
    # Where somebody else moved it meanwhile: whether to where the history says is looked at next.
    with suppress(ConflictError):
        store.move(kit, channel, expected=before)
    return True


def _follows(chain: Chain, value: str, sequence: int, previous: Digest | None) -> bool:
    record = chain.record(sequence, value)
    return record is not None and record.release.previous == previous


def _manifest_of(chain: Chain, sequence: int, value: str) -> Descriptor:
    record = chain.record(sequence, value)
    if record is None or record.manifest is None:
        raise IntegrityError(f"{chain.store.name}: record {sequence} of {chain.channel} cannot be read any more")
    return record.manifest.descriptor
