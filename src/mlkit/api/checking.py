"""Running the checks of a kit in a tree of its own, and saying, signed, what came of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlkit.api import transfer
from mlkit.api.evidence import attach_statement, signer_for
from mlkit.api.release_desk import somebody
from mlkit.api.session import Session, explained_trouble
from mlkit.errors import NotFoundError
from mlkit.packing.kit import load_kit
from mlkit.release.checks import TIMEOUT, Check, CheckResult, environment_of, predicate_of, run_check
from mlkit.spec.bounds import Bound
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile import Kitfile
from mlkit.spec.reference import Reference
from mlkit.spec.test_result import TEST_RESULT


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of the checks of a kit."""

    reference: str
    digest: Digest
    passed: bool
    checks: tuple[CheckResult, ...]
    attestation: Digest | None
    """Of the signed result, which is attached to the kit; None where there was no key, or only some checks were run."""


def check(
    session: Session,
    reference: Reference,
    *,
    only: Collection[str] = (),
    environ: Mapping[str, str],
    pass_on: Collection[str] = (),
    timeout: float | None = None,
    scratch: Path | None = None,
    remote: bool = False,
    key: Path | None = None,
    now: Callable[[], datetime] | None = None,
    listen: Callable[[CheckResult], None] = lambda _: None,
) -> Checked:
    """Unpack a kit into a scratch directory and run its checks there, which run code of the kit.

    They are given little of `environ`, and what `pass_on` names. `timeout` is for those that have none.
    `listen` is told of each result. Raises: NotFoundError for a kit without checks; what unpacking raises.
    """
    located = session.locate(reference, remote=remote)
    with explained_trouble(located):
        kitfile = load_kit(located.store, located.desc).kitfile
    checks = _checks(kitfile, timeout or TIMEOUT)
    chosen = [one for one in checks if not only or one.name in only]
    missing = sorted(set(only) - {one.name for one in checks})
    if missing or not chosen:
        known = ", ".join(ascii(one.name)[1:-1] for one in checks[:20])
        what = f"no check {ascii(missing[0])[:80]}" if missing else "its Kitfile has no checks"
        raise NotFoundError(
            f"{reference}: {what}", hint=f"it has {known}" if known else "the section `checks` of a Kitfile lists them"
        )
    signer = signer_for(session, key)
    clock = now or (lambda: datetime.now(UTC))
    pinned = reference.with_digest(located.desc.digest)
    results: list[CheckResult] = []
    with tempfile.TemporaryDirectory(prefix="mlkit-check-", dir=scratch, ignore_cleanup_errors=True) as folder:
        tree, home = Path(folder) / "kit", Path(folder) / "home"
        home.mkdir()
        transfer.unpack(session, pinned, tree, remote=remote)
        given = environment_of(environ, pass_on) | {"HOME": str(home), "TMPDIR": str(home)}
        for one in chosen:
            results.append(run_check(one, tree, given))
            listen(results[-1])
    attestation = None
    if signer is not None and not only:
        at = clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        predicate = predicate_of(results, chosen, at=at, by=session.settings.actor or somebody())
        attestation = attach_statement(session, located, TEST_RESULT, predicate, signer=signer, now=clock()).digest
    return Checked(str(reference), located.desc.digest, all(one.passed for one in results), tuple(results), attestation)


def _checks(kitfile: Kitfile, timeout: float) -> tuple[Check, ...]:
    return tuple(
        Check(
            name=entry.name,
            run=entry.run,
            timeout=entry.timeout or timeout,
            environment=entry.environment or {},
            exit_code=entry.exit_code or 0,
            metrics=entry.metrics,
            bounds=tuple(map(Bound.parse, entry.bounds)),
        )
        for entry in kitfile.checks
    )
