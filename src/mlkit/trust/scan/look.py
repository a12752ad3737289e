"""One file under the eyes of the scan: where findings go, and what is left of its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mlkit.errors import LimitError
from mlkit.trust.scan.findings import Finding, Severity
from mlkit.trust.scan.rules import RULES
from mlkit.trust.scan.source import Budget, Source

_DEPTH_LIMIT = 6
_FINDING_LIMIT = 200  # of one severity: many that are harmless must not hide one that is not
_MESSAGE_LIMIT = 300
_NAME_LIMIT = 200


Scan = Callable[[Source, "Look", str], str]
"""What looks at some content under a name, whatever it is, and gives its kind: `scanning.scan_content`."""


class Look:
    """Findings on one file and on what is packed in it."""

    def __init__(
        self,
        path: str,
        scan: Scan,
        *,
        is_far: bool = False,
        depth: int = 0,
        whole: Look | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.path = path
        self._scan = scan
        self.is_far = is_far
        """Whether every read is a request to a registry: then what only might be odd is not asked for."""
        self._depth = depth
        self._whole = whole or self
        if whole is None:
            self.budget = budget or Budget()
            self.findings: list[Finding] = []
            self._seen: set[tuple[str, str, str]] = set()
            self._counts: Counter[Severity] = Counter()
        else:
            self.budget = whole.budget
            self.findings = whole.findings
            self._seen = whole._seen
            self._counts = whole._counts

    def report(self, rule: str, message: str, *, position: int | None = None, severity: Severity | None = None) -> None:
        """Add a finding; the same one again, or one of too many, is passed over."""
        chosen = RULES[rule].severity if severity is None else severity
        self._add(Finding(rule, chosen, self.path, message[:_MESSAGE_LIMIT], position))

    def inside(self, name: str) -> Look:
        """The look at a member. Raises: LimitError for archives in archives in archives."""
        if self._depth >= _DEPTH_LIMIT:
            raise LimitError(f"archives lie in each other deeper than {_DEPTH_LIMIT} levels")
        path = f"{self.path}!{escaped(name)}"
        return Look(path, self._scan, is_far=self.is_far, depth=self._depth + 1, whole=self._whole)

    def scan_member(self, source: Source, name: str) -> str:
        """Look at a member, whatever it is; gives its kind. Raises: LimitError."""
        return self._scan(source, self.inside(name), name)

    def trial(self) -> Look:
        """A look whose findings are kept apart until `adopt`; the limits are the same."""
        return Look(self.path, self._scan, is_far=self.is_far, depth=self._depth, budget=self.budget)

    def adopt(self, other: Look) -> None:
        """Take over the findings of a trial."""
        for finding in other.findings:
            self._add(finding)

    def _add(self, finding: Finding) -> None:
        key = (finding.rule, finding.path, finding.message)
        if key not in self._seen and self._counts[finding.severity] < _FINDING_LIMIT:
            self._seen.add(key)
            self._counts[finding.severity] += 1
            self.findings.append(finding)


def escaped(name: str) -> str:
    """A name out of a file, on one line and not too long."""
    return ascii(name[:_NAME_LIMIT])[1:-1]
