"""Answers: what was found, how well each of it is founded, what was looked through, and what nobody could tell.

Values only. An answer without its scope would be a guess, so there is no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mlkit.lineage.graph import NodeKind, Standing


@dataclass(frozen=True, slots=True)
class Thing:
    """A node, as people know it."""

    key: str
    """Digest or address."""
    kind: NodeKind
    names: tuple[str, ...] = ()
    """References that point at it now."""
    former_names: tuple[str, ...] = ()
    """References that pointed at it when it was last seen there, and point elsewhere now."""
    title: str | None = None
    version: str | None = None
    has_model: bool | None = None
    """Whether it is a kit with a model in it; None for what is no kit, or was never read."""
    problem: str | None = None
    """Why it could not be read whole."""

    @property
    def text(self) -> str:
        """The name that says most."""
        return next(iter((*self.names, *self.former_names)), self.key)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a step rests on."""

    where: str
    """`kit`, or the predicate type of a statement."""
    digest: str | None
    """Of the manifest of kit or statement."""
    signed_by: tuple[str, ...] = ()
    """Ids of the trusted keys that signed it."""
    is_signed: bool = False
    """Whether anybody has signed it, trusted or not."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing on a way, and how it hangs on the one before."""

    thing: Thing
    relation: str | None
    """In words; None for the first."""
    role: str | None = None
    name: str | None = None
    """Path in the kit, or reference as it was written."""
    standing: Standing = Standing.PROVED
    """Of this step alone."""
    evidence: Evidence | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found."""

    thing: Thing
    standing: Standing
    """Of the weakest step."""
    depth: int
    """Kits on the way."""
    steps: tuple[Step, ...]
    left_out: int = 0
    """Steps in the middle of a way too long to be shown."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be resolved, behind which more may be."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """A target, and how much of it is known."""

    name: str
    at: str | None
    """RFC 3339; None where no scan of it came to its end."""
    is_whole: bool
    kits: int
    problem: str | None
    unchecked_keys: tuple[str, ...] = ()
    """Ids of keys that are trusted and were not when it was last scanned to its end: what they alone signed is stated
    here, and proved once it is scanned again."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an answer is about."""

    targets: tuple[Scanned, ...]
    kits: int
    """In the whole index."""
    keys: tuple[str, ...]
    """Ids of the keys that were trusted."""
    index: str
    """Where the index is, without passwords."""
    asked_at: str
    """RFC 3339."""

    @property
    def is_whole(self) -> bool:
        """Whether every target was scanned to its end."""
        return bool(self.targets) and all(target.is_whole for target in self.targets)


@dataclass(frozen=True, slots=True)
class Answer:
    """To one question."""

    question: str
    """`trained-on`, `inputs`, …"""
    asked: str
    """As it was typed."""
    subjects: tuple[Thing, ...]
    """What was understood by it."""
    hits: tuple[Hit, ...]
    scope: Scope
    gaps: tuple[Gap, ...] = ()
    is_cut: bool = False
    """There is more than limits allow to be shown."""
    notes: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> Mapping[str, int]:
        """Hits by standing."""
        found = dict.fromkeys((standing.value for standing in Standing), 0)
        for hit in self.hits:
            found[hit.standing.value] += 1
        return found


@dataclass(frozen=True, slots=True)
class Deployment:
    """A time during which a channel pointed at a kit that was asked for."""

    thing: Thing
    """The kit."""
    standing: Standing
    """How well it is founded that the kit came of what was asked, and that the channel pointed at it."""
    place: str
    channel: str
    since: str
    """RFC 3339, by the clock of whoever moved the channel."""
    by: str
    until: str | None
    """None: it still did when the history was last read."""
    until_by: str | None
    action: str
    message: str | None
    record: str
    """Digest of the record."""
    signed_by: tuple[str, ...]
    is_signed: bool | None = None
    """Whether anybody has signed the record itself, trusted or not; None where the scan that read it did not say."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where a thing, and what came of it, ran."""

    answer: Answer
    """What came of it."""
    deployments: tuple[Deployment, ...]
    unreleased: int
    """Kits among them that no history names."""
    histories: int
    """Channels whose history is in the index."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A thing in a tree, with what hangs on it."""

    step: Step
    branches: tuple[Branch, ...] = ()
    left_out: int = 0
    """Branches that are not shown."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A kit between what it came from and what came of it."""

    thing: Thing
    origins: tuple[Branch, ...]
    results: tuple[Branch, ...]
    scope: Scope
    gaps: tuple[Gap, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Unprovenanced:
    """A kit with a model of which too little is known."""

    thing: Thing
    reason: str


@dataclass(frozen=True, slots=True)
class Untold:
    """The kits whose origin nobody can tell."""

    kits: tuple[Unprovenanced, ...]
    count: int
    """Of them all, shown or not."""
    scope: Scope
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two kits came from."""

    before: Thing
    after: Thing
    removed: tuple[Hit, ...]
    """In the lineage of the first only."""
    added: tuple[Hit, ...]
    kept: int
    scope: Scope
    gaps: tuple[Gap, ...]

    @property
    def is_same(self) -> bool:
        """Whether they came from the same things, as far as anybody said."""
        return not (self.removed or self.added)


def moment(seconds: float) -> str:
    """Unix time as RFC 3339."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
