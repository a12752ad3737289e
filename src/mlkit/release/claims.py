"""Agreement on who wrote record N of a channel, in a store that can do no more than add tags and list them.

Registries know no compare-and-swap: `If-Match` is ignored by most. So nobody overwrites anything here. Whoever wants
record N adds tags, whose names say what they found, and lists them again (ADR 0017). This is the commit-adopt protocol
of Gafni ("Round-by-round fault detectors", 1998), round after round:

    phase a   "I want V"
    phase c   "I saw nobody want anything but V"      or      phase b   "I saw more than one, and take V"

V is agreed on where somebody says c of it and nobody says b in the same round; who has seen c of V takes V into the
next round. Two who both believe that they won cannot be, whatever the delays, clocks and deaths: each writes before it
looks, so of two the later one sees the earlier. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass
from typing import Literal

from mlkit.errors import ConflictError
from mlkit.spec.digest import Digest
from mlkit.spec.release import HISTORY_TAGS, SEQUENCE_LIMIT

ROUND_LIMIT = 60
"""Rounds without agreement; each takes an accident of timing that those before it did not have."""

Phase = Literal["a", "b", "c"]
_VALUE = 20  # hexadecimal digits of a record's digest: 80 bits, so that nobody finds a second record for a tag
_LAST = re.compile(rf"([1-9][0-9]{{0,6}})-([0-9]{{1,2}})([abc])-([0-9a-f]{{{_VALUE}}})", re.ASCII)
_PATIENCE = 6  # rounds in which what lay there before is not preferred


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One tag of a history: `mlkit-history.CHANNEL.SEQUENCE-ROUND PHASE-VALUE`, on the record's manifest."""

    channel: str
    sequence: int
    round: int
    phase: Phase
    value: str
    """The first digits of the record's digest."""

    @property
    def tag(self) -> str:
        return f"{HISTORY_TAGS}{self.channel}.{self.sequence}-{self.round}{self.phase}-{self.value}"

    @classmethod
    def parse(cls, tag: str) -> Claim | None:
        """The claim that a tag is; None for any other tag."""
        channel, dot, last = tag.removeprefix(HISTORY_TAGS).rpartition(".")
        found = _LAST.fullmatch(last)
        if not tag.startswith(HISTORY_TAGS) or not dot or not channel or found is None:
            return None
        if int(found[1]) > SEQUENCE_LIMIT:
            return None
        claim = cls(channel, int(found[1]), int(found[2]), _phase(found[3]), found[4])
        return claim if claim.tag == tag else None  # 007 is not 7


@dataclass(frozen=True, slots=True)
class Look:
    """A step: list the claims to this record that are sound."""


@dataclass(frozen=True, slots=True)
class Write:
    """A step: add this tag."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Pause:
    """A step: wait a random time of about `tries` times what a round takes, so that one of two is alone."""

    tries: int


Agreement = Generator[Look | Write | Pause, Collection[Claim], str]


def value_of(digest: Digest) -> str:
    """What stands for a record in the tags."""
    return digest.hex[:_VALUE]


def claims_in(tags: Iterable[str], channel: str) -> dict[int, set[Claim]]:
    """The claims of a channel, by sequence number."""
    found: dict[int, set[Claim]] = {}
    start = f"{HISTORY_TAGS}{channel}."
    for tag in tags:
        claim = Claim.parse(tag) if tag.startswith(start) else None
        if claim is not None and claim.channel == channel:
            found.setdefault(claim.sequence, set()).add(claim)
    return found


def channels_in(tags: Iterable[str]) -> set[str]:
    """The channels that have a history."""
    return {claim.channel for tag in tags if (claim := Claim.parse(tag)) is not None}


def decided(claims: Collection[Claim]) -> str | None:
    """What was agreed on, as far as the claims to one record tell; None where that is still open."""
    for number in sorted({claim.round for claim in claims}):
        commits = {claim.value for claim in claims if (claim.round, claim.phase) == (number, "c")}
        if len(commits) == 1 and not any((claim.round, claim.phase) == (number, "b") for claim in claims):
            return commits.pop()
    return None


def is_contested(claims: Collection[Claim]) -> bool:
    """Whether two records were agreed on in one round, which cannot be where nobody forges a tag."""
    commits = {(claim.round, claim.value) for claim in claims if claim.phase == "c"}
    return len(commits) != len({number for number, _ in commits})


def agree(channel: str, sequence: int, mine: str, *, stale: Collection[str] = ()) -> Agreement:
    """The steps by which one of several comes to know which record is number `sequence`; `mine` is its own.

    `stale` is what was claimed before and never agreed on: whoever wanted that has most likely died, so it is not
    preferred. Raises: ConflictError after ROUND_LIMIT rounds.
    """
    claims = yield Look()
    if decided(claims) is not None:
        # Looked at twice: a list is made page by page, and may show a "c" that was not yet there for somebody who
        # wrote a "b" while it was made.
        claims = yield Look()
        if (agreed := decided(claims)) is not None:
            return agreed
    number = max((claim.round for claim in claims), default=0)
    value = mine
    if number:
        claims = yield Look()
        value = _adopted(claims, number - 1, mine, stale)
    for tries in range(1, ROUND_LIMIT):
        yield Write(Claim(channel, sequence, number, "a", value))
        claims = yield Look()
        wanted = {claim.value for claim in claims if (claim.round, claim.phase) == (number, "a")}
        yield Write(Claim(channel, sequence, number, "c" if wanted == {value} else "b", value))
        claims = yield Look()
        found = {(claim.phase, claim.value) for claim in claims if claim.round == number and claim.phase != "a"}
        if found == {("c", value)}:
            return value
        value = _adopted(claims, number, value, stale if tries < _PATIENCE else ())
        number += 1
        yield Pause(tries)
        if number > 99:
            break
    raise ConflictError(
        f"{channel}: record {sequence} is wanted by others all the time", hint="try again when they have finished"
    )


def _adopted(claims: Collection[Claim], number: int, own: str, stale: Collection[str]) -> str:
    """What to want in the next round."""
    commits = sorted(claim.value for claim in claims if (claim.round, claim.phase) == (number, "c"))
    if commits:
        return commits[0]
    others = {claim.value for claim in claims if claim.round == number} - set(stale)
    return min({own, *others})


def _phase(text: str) -> Phase:
    return "a" if text == "a" else "b" if text == "b" else "c"
