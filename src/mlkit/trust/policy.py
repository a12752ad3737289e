"""A policy as it was read: whose word counts, for which kits, and what must be said of them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlkit.spec.digest import Digest
from mlkit.trust.keys import PublicKey
from mlkit.trust.scopes import Scope

Level = Literal["enforce", "audit", "skip"]
"""What a rule does about a kit that does not meet it: refuse it, say so, or not look."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that a policy knows by a name."""

    name: str
    public: PublicKey
    not_before: datetime | None = None
    not_after: datetime | None = None
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Requirement:
    """A statement that must have been made of a kit."""

    title: str
    """As the policy calls it: `signature`, `scan`, `checks`, `slsaprovenance1`, or the whole type."""
    predicate_type: str
    keys: tuple[str, ...]
    """Names of those whose word counts."""
    threshold: int = 1
    """How many of them must have said it."""
    max_age: timedelta | None = None
    must_be_good: bool = False
    """Whether the statement is a scan or a result of checks, and must have found nothing wrong."""


@dataclass(frozen=True, slots=True)
class Serialization:
    """In which formats a kit may hold weights."""

    allow: tuple[str, ...] | None = None
    """The model's files are in these formats or are no weights; None allows every format."""
    deny: tuple[str, ...] = ()
    """No file of the kit is in these."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold for the kits of a scope."""

    scope: Scope
    line: int
    """Where it stands in the file."""
    level: Level = "enforce"
    requirements: tuple[Requirement, ...] = ()
    serialization: Serialization | None = None
    licences: tuple[str, ...] | None = None
    """SPDX identifiers; None allows every licence, and kits that tell none."""
    not_older_than: datetime | None = None
    """Signatures that were made before do not count."""

    @property
    def needs_content(self) -> bool:
        """Whether it asks for what only the kit's documents tell."""
        return self.serialization is not None or self.licences is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy."""

    source: str
    """Where it was read, for people."""
    digest: Digest
    """Of its bytes, for records."""
    keys: Mapping[str, TrustedKey]
    rules: tuple[Rule, ...]

    def matching(self, repository: str) -> tuple[Rule, ...]:
        """The rules for a repository, the nearest first."""
        found = [rule for rule in self.rules if rule.scope.matches(repository)]
        return tuple(sorted(found, key=lambda rule: rule.scope.rank, reverse=True))
