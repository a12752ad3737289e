"""What a scan says: findings by rule, and the verdict on them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class Severity(IntEnum):
    """How much a finding matters, in order."""

    NOTE = 0
    """Worth knowing, and nothing wrong: a notebook, a Python file."""
    LOW = 1
    """Unusual; does nothing by itself."""
    MEDIUM = 2
    """Loading it runs code or needs somebody's code, or nobody can tell."""
    HIGH = 3
    """Made to do what no model needs, or to be read differently by different programs."""
    CRITICAL = 4
    """Runs commands or code of its author when it is loaded."""

    @property
    def word(self) -> str:
        """As people and JSON write it."""
        return self.name.lower()


class Verdict(StrEnum):
    """What all findings come to."""

    CLEAN = "clean"
    """Everything was looked at, and nothing of at least the asked severity was found."""
    FINDINGS = "findings"
    UNKNOWN = "unknown"
    """Something could not be looked at; never to be taken for clean."""


THRESHOLD: Final = Severity.MEDIUM
"""From here on a finding is one that the verdict counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in one file."""

    rule: str
    """Id of a rule in `rules.RULES`."""
    severity: Severity
    path: str
    """The file, then each member of an archive in it after a `!`."""
    message: str
    """One sentence; what comes from the file is escaped."""
    position: int | None = None
    """Byte in the innermost file, where that helps."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of one file."""

    path: str
    size: int
    kind: str
    """What it is by its content: `pickle`, `torch`, `safetensors`, `text`, …"""
    findings: tuple[Finding, ...]
    is_complete: bool
    """Whether it was looked at to the end; what was not is told by a finding of rule `not-scanned`."""


def verdict_on(findings: Iterable[Finding], *, is_complete: bool, threshold: Severity = THRESHOLD) -> Verdict:
    """Findings come before doubt: what is bad in one place is bad whatever else was not seen."""
    if any(finding.severity >= threshold and finding.rule not in DOUBTS for finding in findings):
        return Verdict.FINDINGS
    if not is_complete or any(finding.rule in DOUBTS for finding in findings):
        return Verdict.UNKNOWN
    return Verdict.CLEAN


DOUBTS: Final = frozenset({"not-scanned", "limit", "scanner-failed"})
"""Rules that say that something was not seen, whatever the threshold."""
