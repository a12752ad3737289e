"""`mlkit fsck`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import fsck as api
from mlkit.api.fsck import Finding, Report
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.errors import StoreError


@command(example="mlkit fsck --deep", network=True)
def fsck(
    call: Call,
    deep: Annotated[bool, typer.Option("--deep", help="Read and hash every byte of every blob.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be; what is damaged goes to .mlkit/quarantine.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Repair without asking any registry.")] = False,
) -> None:
    """Check the local store, and repair it.

    Exit 10 when something is damaged that was not, or could not be, repaired.
    """
    with call.session() as session:
        report = api.fsck(session, deep=deep, repair=repair, offline=offline)
    findings = [line for finding in report.findings for line in _lines(finding)]
    call.show(report, "\n".join([*findings, _summary(report)]))
    call.say_all(report.mended)
    if not report.is_sound:
        count = sum(finding.is_damage for finding in report.findings)
        things = "1 thing is" if count == 1 else f"{count} things are"
        hint = "each finding says how to heal it" if repair else "`mlkit fsck --repair` mends what can be mended"
        raise StoreError(f"{report.store}: {things} damaged", hint=hint)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.kind if finding.is_damage else 'note'}: {render.escape(finding.message)}"]
    for kit in finding.kits:
        where = " ".join(render.cell(part) for part in (kit.entry, kit.path) if part)
        lines.append(f"  of {render.cell(kit.reference)}{f', {where}' if where else ''}")
    if finding.hint:
        lines.append(f"  {render.escape(finding.hint)}")
    return lines


def _summary(report: Report) -> str:
    what = f"{render.counted(report.kits, 'kit')} and {render.counted(report.blobs, 'blob')}"
    hashed = f", {render.size(report.hashed_bytes)} of them hashed" if report.deep else ""
    kept = ""
    if report.quarantined:
        things = render.counted(report.quarantined, "thing")
        kept = f"; {things} of {render.size(report.quarantined_bytes)} in .mlkit/quarantine, for you to delete"
    return f"looked at {what}{hashed}: {'sound' if report.is_sound else 'damaged'}{kept}"
