"""Which version a channel goes back to, by its history and by what people found out. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlkit.release.records import Record
from mlkit.spec.digest import Digest
from mlkit.spec.release import Release


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that the channel once pointed at."""

    digest: Digest
    release: Release
    """The last record that moved the channel to it."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A version that is not gone back to, and why."""

    digest: Digest
    version: str | None
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What to go back to, if anything; and what else was looked at before, newest first."""

    candidate: Candidate | None
    passed_over: tuple[PassedOver, ...]


def marks_of(records: Iterable[Record]) -> dict[Digest, Release]:
    """The last mark of each kit; `records` newest first."""
    found: dict[Digest, Release] = {}
    for record in records:
        for mark in record.release.marks:
            found.setdefault(mark.digest, record.release)
    return found


def is_bad(mark: Release | None) -> bool:
    """Whether a kit's last mark says so."""
    return mark is not None and any(one.verdict == "bad" for one in mark.marks)


def choose(
    records: Iterable[Record],
    *,
    current: Digest | None,
    marks: Mapping[Digest, Release],
    objection: Callable[[Candidate], str | None],
) -> Choice:
    """The newest version before `current` that nobody found bad and that `objection` has nothing against.

    `records` newest first; they are read no further than to the choice, and `objection` is asked only of what the
    history and the marks leave. What a rollback left is passed over until it is promoted again or marked good.
    """
    passed: list[PassedOver] = []
    for candidate, left_at in _candidates(records, current):
        reason = _reason(marks.get(candidate.digest), left_at) or objection(candidate)
        if reason is None:
            return Choice(candidate, tuple(passed))
        passed.append(PassedOver(candidate.digest, candidate.release.version, candidate.release.sequence, reason))
    return Choice(None, tuple(passed))


def _candidates(records: Iterable[Record], current: Digest | None) -> Iterator[tuple[Candidate, Release | None]]:
    """Each version once, by the last record that moved the channel to it, with the rollback that left it since."""
    left: dict[Digest, Release] = {}
    seen = {current}
    for record in records:
        release = record.release
        if release.to not in seen:
            seen.add(release.to)
            yield Candidate(release.to, release), left.get(release.to)
        if release.action == "rollback" and release.from_ is not None:
            left.setdefault(release.from_, release)


def _reason(mark: Release | None, left: Release | None) -> str | None:
    if mark is not None:
        return f"marked bad by {mark.by} at {mark.at}{_told(mark.message)}" if is_bad(mark) else None
    if left is not None:
        return f"rolled back from by {left.by} at {left.at}{_told(left.reason or left.message)}"
    return None


def _told(message: str | None) -> str:
    return f": {message}" if message else ""
