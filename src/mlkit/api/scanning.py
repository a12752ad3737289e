"""Scans: of a kit where it lies, of a directory, of a file; and what an attestation says of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mlkit import __version__
from mlkit.api.evidence import attach_statement, moment
from mlkit.api.scan_tasks import KitScan, tasks_below, tasks_of_kit
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.api.variants import ANY, Choice, locate
from mlkit.errors import UsageError
from mlkit.packing.kit import load_kit
from mlkit.packing.select import select
from mlkit.spec.reference import Reference
from mlkit.spec.statement import SCAN
from mlkit.trust.scan.findings import THRESHOLD, Severity
from mlkit.trust.scan.report import Scanned, ScanReport, predicate_of, report
from mlkit.trust.scan.sandbox import Limits, Sandbox, Task
from mlkit.trust.signer import Signer


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a scan is done."""

    secrets: bool = True
    """Whether texts are searched for secrets, where the library for it is installed."""
    opinion: bool = False
    """Whether another scanner is asked too, where it is installed; it decides nothing."""
    threshold: Severity = THRESHOLD
    limits: Limits | None = None
    """What the scan of one file may use up; None leaves it to the settings."""
    verify: bool = False
    """Whether every byte of a kit is checked against its digests, also of layers of which a scan reads only parts."""
    whole_size: int = 1 << 30
    """Bytes of a layer in the local store up to which it is hashed whole all the same: a second or two of work."""
    far_size: int = 8 << 20
    """Bytes of a layer in a registry up to which it is fetched whole, which costs little more than asking for parts."""


_DEFAULT = ScanOptions()


def scan_path(
    session: Session, path: Path, *, options: ScanOptions = _DEFAULT, now: datetime | None = None
) -> ScanReport:
    """Look at a file, or at every file below a directory; links are not followed. Raises: NotFoundError."""
    skipped: list[str] = []
    with Sandbox(secrets=options.secrets, opinion=options.opinion, limits=_limits(session, options)) as sandbox:
        scanned = tuple(_run(session, sandbox, tasks_below(path, skipped)))
        return report(
            str(path),
            scanned,
            digest=None,
            scanned_at=moment(now),
            version=__version__,
            not_scanned=skipped,
            secrets=options.secrets and sandbox.finds_secrets,
            threshold=options.threshold,
        )


def scan(
    session: Session,
    reference: Reference,
    *,
    choice: Choice = ANY,
    filters: Sequence[str] = (),
    remote: bool = False,
    options: ScanOptions = _DEFAULT,
    now: datetime | None = None,
) -> ScanReport:
    """Look at every file of a kit, in the local store first, without unpacking it.

    Of a large checkpoint in a registry only the directory and the pickle are fetched; what is not verified for that is
    told in `coverage`, and `options.verify` reads it whole. Layers that a partial kit lacks are not fetched, and told.
    Raises: NotFoundError; UnsafeError for what is no kit; DigestMismatch for a layer whose bytes are not the kit's.
    """
    located = locate(session, reference, choice, remote=remote)
    return _scan_located(session, located, filters=filters, options=options, now=now)


def scan_and_attest(
    session: Session,
    reference: Reference,
    *,
    signer: Signer,
    choice: Choice = ANY,
    remote: bool = False,
    options: ScanOptions = _DEFAULT,
    now: datetime | None = None,
) -> ScanReport:
    """Scan a whole kit, every byte checked against its digests, and say the result of it, signed, on the kit.

    Raises also: DigestMismatch for a layer whose bytes are not the kit's; UsageError for another threshold than the one
    that policies expect.
    """
    if options.threshold != THRESHOLD:
        raise UsageError(
            f"an attestation counts findings from {THRESHOLD.word} on, and {options.threshold.word} was asked for",
            hint="leave --fail-on out, or --attest",
        )
    located = locate(session, reference, choice, remote=remote)
    found = _scan_located(session, located, filters=(), options=replace(options, verify=True), now=now)
    attached = attach_statement(session, located, SCAN, predicate_of(found), signer=signer, now=now)
    return replace(found, attached=attached.digest)


def _scan_located(
    session: Session,
    located: Located,
    *,
    filters: Sequence[str],
    options: ScanOptions,
    now: datetime | None,
) -> ScanReport:
    with (
        explained_trouble(located),
        Sandbox(secrets=options.secrets, opinion=options.opinion, limits=_limits(session, options)) as sandbox,
    ):
        kit = load_kit(located.store, located.desc)
        chosen = frozenset(one.layer.desc.digest for one in select(kit, filters).layers) if filters else None
        wanted = KitScan(
            chosen,
            whole_size=None if options.verify else options.whole_size,
            far_size=None if options.verify else options.far_size,
            fetches=located.source == "remote",
        )
        scanned = tuple(_run(session, sandbox, tasks_of_kit(session, located, kit, wanted)))
        return report(
            str(located.reference),
            scanned,
            digest=located.desc.digest,
            scanned_at=moment(now),
            version=__version__,
            not_scanned=wanted.skipped,
            unverified=wanted.unverified,
            secrets=options.secrets and sandbox.finds_secrets,
            threshold=options.threshold,
        )


def _limits(session: Session, options: ScanOptions) -> Limits:
    chosen = session.settings.limits
    return options.limits or Limits(expansion=chosen.scan_bytes, members=chosen.scan_members)


def _run(session: Session, sandbox: Sandbox, tasks: Iterable[Task]) -> Iterator[Scanned]:
    """Results as they come; closing the tasks closes their files."""
    for task in tasks:
        session.progress.start(task.path, task.path, task.size)
        result, opinion = sandbox.scan(task)
        session.progress.finish(task.path, "done")
        yield Scanned(result, opinion)
