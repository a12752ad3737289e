"""The public Python API of releases: channels, the way back, checks, and what runs where."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from mlkit.api import checking, release_views, releases
from mlkit.api.public import PathLike, _digest, _using
from mlkit.api.session import Session
from mlkit.release.state import RepositoryState
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.release import EvidenceKind


def promote(
    reference: str,
    channel: str,
    *,
    message: str | None = None,
    require: Iterable[EvidenceKind] = (),
    expect: str | Digest | None = None,
    key: PathLike | None = None,
    accept_untrusted: bool = False,
    dry_run: bool = False,
    session: Session | None = None,
) -> releases.Move:
    """Let a channel point at a kit, and write down that it does; ConflictError where somebody else was faster.

    `require` names what the kit must have: "signature", "checks", "scan", "policy". With `expect` the channel moves
    from that digest and from no other.
    """
    with _using(session, None) as using:
        return releases.promote(
            using,
            Reference.parse(reference),
            channel,
            message=message,
            require=tuple(require),
            expect=_digest(expect),
            key=_path(key),
            accept_untrusted=accept_untrusted,
            dry_run=dry_run,
        )


def rollback(
    repository: str,
    channel: str,
    *,
    to: str | None = None,
    expect: str | Digest | None = None,
    mark_bad: bool = False,
    message: str | None = None,
    key: PathLike | None = None,
    accept_untrusted: bool = False,
    dry_run: bool = False,
    session: Session | None = None,
) -> releases.Move:
    """Let a channel point at its last good version again, or at `to`; `passed_over` says what else was looked at."""
    with _using(session, None) as using:
        return releases.rollback(
            using,
            Reference.parse(repository),
            channel,
            to=Reference.parse(to) if to is not None else None,
            expect=_digest(expect),
            mark_bad=mark_bad,
            message=message,
            key=_path(key),
            accept_untrusted=accept_untrusted,
            dry_run=dry_run,
        )


def mark(
    reference: str,
    verdict: Literal["good", "bad"],
    *,
    message: str | None = None,
    key: PathLike | None = None,
    session: Session | None = None,
) -> releases.Marked:
    """Write down that a kit is good or bad, for all channels of its repository; the last mark counts."""
    with _using(session, None) as using:
        return releases.mark(using, Reference.parse(reference), verdict, message=message, key=_path(key))


def history(
    repository: str, channel: str | None = None, *, session: Session | None = None
) -> tuple[release_views.ChannelHistory, ...]:
    """Who moved channels, when and why, newest first; `problems` of each says why it does not verify."""
    with _using(session, None) as using:
        return release_views.history(using, Reference.parse(repository), channel)


def status(repositories: str | Sequence[str], *, session: Session | None = None) -> tuple[RepositoryState, ...]:
    """What is in which channel of one repository or several."""
    names = [repositories] if isinstance(repositories, str) else repositories
    with _using(session, None) as using:
        return release_views.status(using, [Reference.parse(name) for name in names])


def check(
    reference: str,
    *,
    only: Iterable[str] = (),
    pass_on: Iterable[str] = (),
    timeout: float | None = None,
    key: PathLike | None = None,
    remote: bool = False,
    session: Session | None = None,
) -> checking.Checked:
    """Run the checks of a kit, which are programs of whoever packed it; with a key the result is attached to it.

    They see few variables of the environment, and those that `pass_on` names. `timeout` is in seconds.
    """
    with _using(session, None) as using:
        return checking.check(
            using,
            Reference.parse(reference),
            only=tuple(only),
            environ=os.environ,
            pass_on=tuple(pass_on),
            timeout=timeout,
            key=_path(key),
            remote=remote,
        )


def _path(key: PathLike | None) -> Path | None:
    return None if key is None else Path(key)
