"""How long the lists may be that others write for us: what refers to a kit, what a registry lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListLimits:
    """Bounds on work that grows with what anybody may add to a repository; each can be raised by the caller."""

    referrers: int = 1_000
    """Referrers of one manifest, and referrers that go along with one kit: each costs a request or more."""
    statements: int = 64
    """Signatures and attestations of one kit that are looked at: each costs a check with every key."""
    pages: int = 1_000
    """Pages of one list of a registry."""
    tags: int = 1_000_000
    """Tags of one repository, and repositories of one registry: their names are held in memory."""


DEFAULT_LIST_LIMITS = ListLimits()


def raised_by(name: str) -> str:
    """The hint of an error that one of these limits makes."""
    return f"where that many are meant to be there, raise `{name}` in MLKIT_LIMITS or [limits] of config.toml"
