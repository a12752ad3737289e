"""Which kits of a repository may go: planned as a whole before anything is deleted. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mlkit.errors import UsageError
from mlkit.release.rollback import is_bad
from mlkit.spec.digest import Digest
from mlkit.spec.release import Release

ROLLBACKS = 10
"""Versions of each channel, the present one included, that are kept because a rollback may want them."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept beside what channels need."""

    keep: int | None = None
    """So many of the newest."""
    keep_within: timedelta | None = None
    """What is younger; and what nobody knows the age of."""
    keep_channels: bool = False
    """Whatever a channel ever pointed at, and not only what rollbacks may want."""

    def __post_init__(self) -> None:
        if self.keep is None and self.keep_within is None:
            raise UsageError("nothing says what is to be kept", hint="--keep 10, --keep-within 90d, or both")


@dataclass(frozen=True, slots=True)
class Kept:
    """A kit of the repository, with all its tags."""

    digest: Digest
    tags: tuple[str, ...]
    created: datetime | None
    """The earliest moment that anybody tells of it: its annotation, a record, a signature."""
    needs: frozenset[Digest] = frozenset()
    """What it cannot be used without: kits of an index, the kit that its model is based on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a kit, and why."""

    kit: Kept
    is_kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Needed:
    """What the channels of a repository need."""

    by_channel: Mapping[str, tuple[Digest, ...]] = field(default_factory=dict)
    """The versions of each channel, newest first, each once."""
    bad: frozenset[Digest] = frozenset()
    """What was marked bad, and so is no version to go back to."""


def versions_of(releases: Iterable[Release], current: Digest | None) -> tuple[Digest, ...]:
    """The versions that a channel pointed at, newest first; `releases` newest first. `current` is where its tag is."""
    found = [] if current is None else [current]
    for release in releases:
        found.append(release.to)
        if release.from_ is not None:
            found.append(release.from_)
    return tuple(dict.fromkeys(found))


def bad_ones(marks: Mapping[Digest, Release]) -> frozenset[Digest]:
    """The kits whose last mark is bad."""
    return frozenset(digest for digest, release in marks.items() if is_bad(release))


def plan(kits: Collection[Kept], needed: Needed, rules: Rules, *, now: datetime) -> tuple[Decision, ...]:
    """What becomes of each kit, newest first."""
    ordered = sorted(kits, key=_order, reverse=True)
    reasons: dict[Digest, str] = {}
    for channel, versions in sorted(needed.by_channel.items()):
        good = [digest for digest in versions if digest not in needed.bad or digest == versions[0]]
        for number, digest in enumerate(versions if rules.keep_channels else good[:ROLLBACKS]):
            reasons.setdefault(digest, f"{channel} is there" if number == 0 else f"{channel} was there")
    for number, kit in enumerate(ordered):
        if rules.keep is not None and number < rules.keep:
            reasons.setdefault(kit.digest, f"one of the newest {rules.keep}")
        if rules.keep_within is not None:
            if kit.created is None:
                reasons.setdefault(kit.digest, "nobody knows how old it is")
            elif kit.created > now - rules.keep_within:
                reasons.setdefault(kit.digest, f"younger than {rules.keep_within.days} days")
    by_digest = {kit.digest: kit for kit in kits}
    waiting = [digest for digest in reasons if digest in by_digest]
    while waiting:
        kit = by_digest[waiting.pop()]
        for digest in kit.needs:
            if digest not in reasons:
                reasons[digest] = f"{kit.tags[0] if kit.tags else kit.digest.short} needs it"
                if digest in by_digest:
                    waiting.append(digest)
    return tuple(Decision(kit, kit.digest in reasons, reasons.get(kit.digest, "nothing keeps it")) for kit in ordered)


def _order(kit: Kept) -> tuple[int, float, list[tuple[int, int, str]]]:
    """By time; what has none counts as newest, in the order of its versions."""
    version = max((_version(tag) for tag in kit.tags), default=[])
    return (1, 0.0, version) if kit.created is None else (0, kit.created.timestamp(), version)


def _version(tag: str) -> list[tuple[int, int, str]]:
    """1.9 before 1.10, and 1.10-rc before 1.10 is not tried: words come after numbers."""
    pieces = re.findall(r"[0-9]{1,100}|[^0-9]+", tag, re.ASCII)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]
