"""`mlkit scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import scanning
from mlkit.api.scanning import ScanOptions
from mlkit.api.signers import require_signer
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import FilterOption, KeyOption, LabelOption, RemoteOption, SelectOption, parse_choice
from mlkit.errors import UsageError
from mlkit.spec.reference import Reference
from mlkit.trust.scan.findings import Severity
from mlkit.trust.scan.report import FindingRecord, ScanReport

_SHOWN = 100  # findings in the table; all are in --json
_UNSEEN = 10

_Target = Annotated[
    str,
    typer.Argument(
        metavar="REF|PATH",
        help="A kit, or a file or directory where one is there.",
        show_default=False,
        autocompletion=complete_reference,
    ),
]


@command(example="mlkit scan digits:1.2", network=True)
def scan(
    call: Call,
    target: _Target,
    filters: FilterOption = None,
    labels: LabelOption = None,
    select: SelectOption = None,
    remote: RemoteOption = False,
    fail_on: Annotated[
        str,
        typer.Option("--fail-on", metavar="SEVERITY", help="What counts: note, low, medium, high or critical."),
    ] = "medium",
    no_secrets: Annotated[bool, typer.Option("--no-secrets", help="Do not search texts for secrets.")] = False,
    second_opinion: Annotated[
        bool, typer.Option("--second-opinion", help="Ask modelaudit-picklescan too; it is shown and decides nothing.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte of the kit, of large and remote layers too.")
    ] = False,
    attest: Annotated[
        bool, typer.Option("--attest", help="Check every byte, and say the result on the kit, signed with --key.")
    ] = False,
    key: KeyOption = None,
) -> None:
    """Look for what loading files would do, and exit 1 when that is harm.

    Nothing is loaded or unpacked. Exits 1 too where something could not be looked at.
    """
    options = ScanOptions(secrets=not no_secrets, opinion=second_opinion, threshold=_severity(fail_on), verify=verify)
    path = _path(target, remote=remote)
    with call.session() as session:
        if path is not None:
            if attest or verify or filters or labels or select:
                raise UsageError(
                    f"{target}: is a path here, and --attest, --verify, --filter, -l and --select are for kits"
                )
            found = scanning.scan_path(session, path, options=options)
        elif attest:
            if filters:
                raise UsageError("--attest is of a whole kit, and --filter leaves parts of it out")
            signer = require_signer(session, key)
            found = scanning.scan_and_attest(
                session,
                Reference.parse(target),
                signer=signer,
                choice=parse_choice(labels, select),
                remote=remote,
                options=options,
            )
        else:
            found = scanning.scan(
                session,
                Reference.parse(target),
                choice=parse_choice(labels, select),
                filters=filters or (),
                remote=remote,
                options=options,
            )
    call.show(found, _text(found))
    call.say(_summary(found))
    if found.attached is not None:
        call.say(f"attested as {found.attached}")
    raise typer.Exit(0 if found.verdict == "clean" else 1)


def _path(target: str, *, remote: bool) -> Path | None:
    """The path that is meant: where something lies, or what cannot be a reference."""
    path = Path(target)
    is_path = target.startswith(("/", "./", "../", "~")) or target in (".", "..") or path.exists()
    return path.expanduser() if is_path and not remote else None


def _severity(word: str) -> Severity:
    for severity in Severity:
        if severity.word == word.lower():
            return severity
    raise UsageError(f"--fail-on {word!a}: no such severity", hint="note, low, medium, high or critical")


def _text(found: ScanReport) -> str:
    """The findings that count or come near it; notes are for --json, and told as a number."""
    listed = [one for one in found.findings if one.severity != "note"]
    lines = [_finding(one) for one in listed[:_SHOWN]]
    if len(listed) > _SHOWN:
        lines.append(f"and {len(listed) - _SHOWN} more; --json lists all")
    opinions = [one for one in found.files if one.opinion is not None]
    lines += [f"second opinion on {render.escape(one.path)}: {render.cell(one.opinion)}" for one in opinions]
    unseen = found.coverage.not_scanned
    lines += [f"not scanned: {render.escape(one)}" for one in unseen[:_UNSEEN]]
    if len(unseen) > _UNSEEN:
        lines.append(f"and {len(unseen) - _UNSEEN} more were not scanned")
    unchecked = found.coverage.unverified
    lines += [f"not verified, read in part: {render.escape(one)}" for one in unchecked[:_UNSEEN]]
    if len(unchecked) > _UNSEEN:
        lines.append(f"and {len(unchecked) - _UNSEEN} more were not verified")
    return "\n".join([*lines, f"{found.verdict}: {render.counted(found.coverage.files, 'file')}{_counts(found)}"])


def _finding(one: FindingRecord) -> str:
    return f"{one.severity:<8}  {one.rule:<18}  {render.escape(one.path)}\n{' ' * 10}{render.escape(one.message)}"


def _counts(found: ScanReport) -> str:
    words = [severity.word for severity in sorted(Severity, reverse=True)]
    counts = [f"{getattr(found.counts, word)} {word}" for word in words if getattr(found.counts, word)]
    return f", {', '.join(counts)}" if counts else ""


def _summary(found: ScanReport) -> str:
    parts = [f"looked at {render.counted(found.coverage.files, 'file')}, {render.size(found.coverage.bytes)}"]
    if not found.coverage.secrets:
        parts.append("texts were not searched for secrets")
    if not found.coverage.is_verified:
        layers = render.counted(len(found.coverage.unverified), "layer")
        parts.append(f"{layers} not checked against the kit's digests; --verify reads all of it")
    return "; ".join(parts)
