"""The four things that `mlkit verify` can be asked: by a key, by a policy, of a directory, of a bundle in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.errors import UsageError

# Each way imports what it needs: who verifies by a key needs neither YAML nor the documents of a kit.
if TYPE_CHECKING:
    from mlkit.api.comparing import DirectoryReport
    from mlkit.api.variants import Choice
    from mlkit.spec.reference import Reference

Way = Literal["key", "policy", "directory", "bundle"]

_DIFFERS = 4  # as bytes that do not match their digest
_NOT_MET = 8
_SHOWN = 100  # differences; all of them are in --json


def how_to_verify(
    call: Call,
    *,
    keys: Sequence[Path] | None,
    policy: Path | None,
    directory: Path | None,
    bundle: Path | None,
    kind: str | None,
) -> Way:
    """What was asked for; without any of the flags, the policy that is configured before keys that are.

    Raises: UsageError for two things at once.
    """
    if directory is not None and (keys or policy or bundle or kind):
        raise UsageError("--dir compares files; verify who signed the kit in a run of its own")
    if policy is not None and (keys or bundle or kind):
        raise UsageError("--policy says itself which keys and statements count")
    if bundle is not None and kind:
        raise UsageError("--type is for what is attached to the kit, and --bundle is a file")
    if directory is not None:
        return "directory"
    if bundle is not None:
        return "bundle"
    if policy is not None or not (keys or kind or call.settings().policy is None):
        return "policy"
    return "key"


def verify_by_key(call: Call, reference: Reference, keys: Sequence[Path], kind: str, *, remote: bool) -> None:
    """Raises: PolicyError where nobody of `keys` stands for the kit."""
    from mlkit.api import verifying
    from mlkit.cli.evidence import evidence_table, verification_document

    with call.session() as session:
        found = verifying.verify(session, reference, keys=keys, predicate_type=kind, remote=remote)
    call.show(verification_document(found), evidence_table(found.matched))
    found.require()
    call.say(f"verified {found.reference}: {found.digest}")


def verify_by_policy(call: Call, reference: Reference, policy: Path | None, *, choice: Choice, remote: bool) -> None:
    """Exit 8 where the policy is not met, or where nothing had to be met."""
    from mlkit.api import policies
    from mlkit.cli.policy_text import report_text

    with call.session(policy=policy) as session:
        report = policies.explain(session, reference, choice=choice, remote=remote)
    call.show(report, report_text(report))
    if report.verdict != "met":
        raise typer.Exit(_NOT_MET)
    # Formats and licences can be right without anybody having stood for the kit.
    call.say(f"{'verified' if report.is_verified else 'allowed'} {report.reference}: {report.digest}")


def verify_directory(
    call: Call, reference: Reference, directory: Path, *, choice: Choice, filters: Sequence[str], remote: bool
) -> None:
    """Exit 4 where the directory holds something else than the kit."""
    from mlkit.api import comparing

    with call.session() as session:
        report = comparing.compare(session, reference, directory, choice=choice, filters=filters, remote=remote)
    call.show(report, "\n".join(_differences(report)))
    if not report.is_same:
        raise typer.Exit(_DIFFERS)
    call.say(f"{directory} is {report.reference}: {render.counted(report.files, 'file')}, {render.size(report.size)}")


def verify_in_file(call: Call, reference: Reference, bundle: Path, *, keys: Iterable[Path], remote: bool) -> None:
    """Raises: PolicyError where the bundle is not of one of `keys`, or about something else."""
    from mlkit.api import bundles

    with call.session() as session:
        found = bundles.verify_bundle(session, reference, bundle, keys=keys, remote=remote)
    call.show(found, f"signed by {render.escape(', '.join(found.signed_by))}")
    call.say(f"verified {found.reference}: {found.digest}")


def _differences(report: DirectoryReport) -> Iterator[str]:
    found = [
        *(f"missing {render.escape(one.path)}" for one in report.missing),
        *(f"extra   {render.escape(one.path)}" for one in report.extra),
        *(f"changed {render.escape(one.path)}: {render.escape(one.reason or '')}" for one in report.changed),
    ]
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more"
