"""What came of holding a policy against a kit: for programs, for people, and for the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlkit.spec.digest import Digest
from mlkit.trust.policy import Level

PolicyVerdict = Literal["met", "not met", "noted", "skipped"]
"""`noted`: not met, and the rule only audits. `skipped`: the rule says not to look."""


@dataclass(frozen=True, slots=True)
class Considered:
    """A statement that was looked at for a check."""

    digest: Digest
    """Of the manifest that carries it."""
    subject: Digest
    """Of the kit or index that it is attached to."""
    predicate_type: str
    keys: tuple[str, ...]
    """Names of those who signed it and whose word counts here."""
    signed_at: str | None
    """RFC 3339, as the signed statement says; who holds the key could have written any time."""
    is_accepted: bool
    reason: str | None
    """Why not."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a rule asks for."""

    kind: Literal["rule", "statement", "serialization", "licence"]
    title: str
    kit: Digest
    """What it was asked of: the kit, or the index that lists it."""
    is_met: bool
    reason: str
    evidence: tuple[Considered, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTold:
    """A rule, as far as a report tells it."""

    scope: str
    line: int
    level: Level


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The answer for one reference."""

    reference: str
    digest: Digest
    """What the reference named when it was looked up, once."""
    kits: tuple[Digest, ...]
    """The kits of an index that were asked for; the same as `digest` for a single kit."""
    purpose: str
    """What the kit was wanted for: `pull`, `unpack`, …"""
    policy: str
    policy_digest: Digest
    rule: RuleTold | None
    """The one that applied."""
    others: tuple[RuleTold, ...]
    """Rules whose scope is of this repository too, and is wider."""
    verdict: PolicyVerdict
    is_verified: bool
    """Whether at least one statement was required and found to hold, and everything else as well."""
    checks: tuple[Check, ...]

    @property
    def is_refused(self) -> bool:
        """Whether the kit must not be used."""
        return self.verdict == "not met"

    @property
    def failures(self) -> tuple[str, ...]:
        """Why, one reason for each check that is not met."""
        several = len(self.kits) > 1
        return tuple(
            f"{check.kit.short}: {check.reason}" if several else check.reason
            for check in self.checks
            if not check.is_met
        )
