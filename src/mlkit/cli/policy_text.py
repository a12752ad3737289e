"""What a policy found, for people: the verdict, the rule, and every check with what was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlkit.cli import render

if TYPE_CHECKING:
    from mlkit.trust.policy_report import Check, Considered, PolicyReport, RuleTold

_VERDICTS = {
    "met": "met",
    "not met": "not met: the kit is refused",
    "noted": "not met, and only told (audit)",
    "skipped": "skipped: the rule says not to look",
}


def report_text(report: PolicyReport) -> str:
    """A block of facts, and one for each check."""
    kits = [kit for kit in report.kits if kit != report.digest]
    listed = render.facts(
        (
            ("reference", render.escape(report.reference)),
            ("digest", str(report.digest)),
            *(("kit", str(kit)) for kit in kits),
            ("policy", render.escape(report.policy)),
            ("rule", _rule(report.rule) if report.rule else "none is for this repository"),
            *(("wider", _rule(rule)) for rule in report.others),
            ("verdict", _VERDICTS[report.verdict]),
        )
    )
    return "\n\n".join([listed, *("\n".join(_check(check)) for check in report.checks)])


def _rule(rule: RuleTold) -> str:
    return f"{render.escape(rule.scope)} ({rule.level}, line {rule.line})"


def _check(check: Check) -> Iterator[str]:
    yield f"{'ok' if check.is_met else 'NO'}  {render.escape(check.title)}"
    if not check.is_met or check.kind != "statement":
        yield f"    {render.escape(check.reason)}"
    for one in check.evidence:
        yield f"    {_considered(one)}"


def _considered(one: Considered) -> str:
    who = f" by {render.escape(', '.join(one.keys))}" if one.keys else ""
    when = f" on {render.moment(one.signed_at)}" if one.signed_at else ""
    told = "counts" if one.is_accepted else render.escape(one.reason or "does not count")
    return f"{render.short(one.digest)}{who}{when}: {told}"
