"""The result of a scan, as people's programs read it and as an attestation says it. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mlkit.spec.digest import Digest
from mlkit.trust.scan.findings import DOUBTS, THRESHOLD, FileResult, Severity, Verdict, verdict_on
from mlkit.trust.scan.rules import VERSION

REPORT_VERSION: Final = 1
"""Of `schemas/report-scan-v1.json`."""
FINDING_LIMIT: Final = 1000
"""Findings and files in one attestation; the counts count all."""

Word = Literal["note", "low", "medium", "high", "critical"]
Judged = Literal["clean", "findings", "unknown"]


@dataclass(frozen=True, slots=True)
class ScannerRecord:
    """Who scanned."""

    name: str
    version: str
    rules: str
    """Version of the rules; it is counted up when a file may get another verdict."""


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """One thing in one file."""

    rule: str
    severity: Word
    path: str
    """The file, then each member of an archive in it after a `!`."""
    message: str
    position: int | None
    """Byte in the innermost file."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file that was looked at."""

    path: str
    size: int
    kind: str
    """What it is by its content."""
    verdict: Judged
    opinion: str | None
    """What modelaudit-picklescan says of it, where it was asked; it decides nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Findings by how much they matter."""

    note: int
    low: int
    medium: int
    high: int
    critical: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was looked at, and what was not."""

    files: int
    bytes: int
    not_scanned: tuple[str, ...]
    """Files and layers, each with the reason; where there is one, the verdict is never `clean`."""
    is_verified: bool
    """Whether every byte that was looked at is known to be of the kit's digests."""
    unverified: tuple[str, ...]
    """Large layers that were not read whole, so that their digest was not checked; `--verify` checks them too."""
    secrets: bool
    """Whether texts were searched for secrets; that needs the extra `scan`."""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found."""

    report_version: int
    target: str
    digest: Digest | None
    """Of the manifest, where a kit was scanned."""
    scanned_at: str
    """RFC 3339, UTC."""
    scanner: ScannerRecord
    verdict: Judged
    threshold: Word
    """Findings of this severity and above make the verdict."""
    counts: Counts
    coverage: Coverage
    findings: tuple[FindingRecord, ...]
    """The most severe first."""
    files: tuple[FileRecord, ...]
    attached: Digest | None = None
    """Of the manifest of the attestation, where the scan was attested."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A file with its result."""

    result: FileResult
    opinion: str | None = None


def report(
    target: str,
    scanned: Iterable[Scanned],
    *,
    digest: Digest | None,
    scanned_at: str,
    version: str,
    not_scanned: Iterable[str] = (),
    unverified: Iterable[str] = (),
    secrets: bool,
    threshold: Severity = THRESHOLD,
) -> ScanReport:
    """Gather the results of all files; `not_scanned` are the layers that nobody could look at, `unverified` those whose
    digest nobody checked.

    `version` is mlkit's.
    """
    every = tuple(scanned)
    unchecked = tuple(unverified)
    findings = sorted(
        (finding for one in every for finding in one.result.findings),
        key=lambda finding: (-finding.severity, finding.path, finding.message),
    )
    unseen = [*not_scanned, *(f"{one.path}: {one.message}" for one in findings if one.rule in DOUBTS)]
    by_severity = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    verdict = verdict_on(findings, is_complete=not unseen, threshold=threshold)
    return ScanReport(
        report_version=REPORT_VERSION,
        target=target,
        digest=digest,
        scanned_at=scanned_at,
        scanner=ScannerRecord("mlkit", version, VERSION),
        verdict=_judged(verdict),
        threshold=_word(threshold),
        counts=Counts(*(by_severity[severity] for severity in sorted(Severity))),
        coverage=Coverage(
            files=len(every),
            bytes=sum(max(0, one.result.size) for one in every),
            not_scanned=tuple(unseen),
            is_verified=not unchecked,
            unverified=unchecked,
            secrets=secrets,
        ),
        findings=tuple(
            FindingRecord(one.rule, _word(one.severity), one.path, one.message, one.position) for one in findings
        ),
        files=tuple(
            FileRecord(
                one.result.path,
                one.result.size,
                one.result.kind,
                _judged(verdict_on(one.result.findings, is_complete=one.result.is_complete, threshold=threshold)),
                one.opinion,
            )
            for one in every
        ),
    )


def predicate_of(found: ScanReport) -> Mapping[str, object]:
    """What an attestation says; a long list of findings is cut, the counts are not. See `spec.statement.SCAN`."""
    return {
        "scanner": {
            "name": found.scanner.name,
            "version": found.scanner.version,
            "rules": found.scanner.rules,
        },
        "scannedAt": found.scanned_at,
        "verdict": found.verdict,
        "counts": {severity.word: getattr(found.counts, severity.word) for severity in Severity},
        "findings": [
            {"rule": one.rule, "severity": one.severity, "path": one.path, "message": one.message}
            for one in found.findings[:FINDING_LIMIT]
        ],
        "coverage": {
            "files": found.coverage.files,
            "bytes": found.coverage.bytes,
            "notScanned": list(found.coverage.not_scanned[:FINDING_LIMIT]),
        },
    }


def _word(severity: Severity) -> Word:
    words: dict[Severity, Word] = {
        Severity.NOTE: "note",
        Severity.LOW: "low",
        Severity.MEDIUM: "medium",
        Severity.HIGH: "high",
        Severity.CRITICAL: "critical",
    }
    return words[severity]


def _judged(verdict: Verdict) -> Judged:
    words: dict[Verdict, Judged] = {
        Verdict.CLEAN: "clean",
        Verdict.FINDINGS: "findings",
        Verdict.UNKNOWN: "unknown",
    }
    return words[verdict]
