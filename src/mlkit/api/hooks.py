"""Running and calling what the user's settings name, when a channel was moved. A hook that fails undoes nothing."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from mlkit.api.session import Session
from mlkit.errors import MlkitError, UsageError
from mlkit.release.hooks import body_of, call_url, headers_of, run_program

if TYPE_CHECKING:
    from pathlib import Path

    from mlkit.api.releases import Move

_CALL_TIMEOUT = 10.0  # seconds
_SECRET_LIMIT = 4096  # bytes


def announce(session: Session, move: Move, *, by: str, at: str) -> None:
    """Tell of a move. People are warned of a hook that fails."""
    hook = session.settings.on_rollback if move.action == "rollback" else session.settings.on_promote
    if hook is None:
        return
    body = body_of(
        {
            "event": move.action,
            "repository": move.repository,
            "channel": move.channel,
            "to": str(move.digest),
            "from": str(move.before) if move.before else None,
            "version": move.version,
            "fromVersion": move.before_version,
            "by": by,
            "at": at,
            "message": move.message,
            "reason": move.reason,
            "sequence": move.sequence,
            "record": str(move.record),
        }
    )
    is_url = len(hook) == 1 and "://" in hook[0]
    try:
        reason = _call(session, hook[0], move.action, body) if is_url else run_program(hook, body)
    except MlkitError as error:
        reason = error.message
    if reason is not None:
        name = f"on_{move.action}"
        session.progress.warn(f"the hook {name} failed, and {move.repository}:{move.channel} is moved: {reason}")


def _call(session: Session, url: str, event: str, body: bytes) -> str | None:
    from mlkit.registry.visit import visit

    path = session.settings.hook_secret
    headers = headers_of(event, body, _secret(path) if path else None)

    def post() -> str | None:
        try:
            answer = visit(url, session.outside(), method="POST", body=body, headers=headers, timeout=_CALL_TIMEOUT)
        except MlkitError as error:
            return error.message
        return None if answer.is_good else f"it answered {answer.status}"

    return call_url(post, time.sleep)


def _secret(path: Path) -> bytes:
    """Raises: UsageError for a secret that others may read, or that is none."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"{path}: others may read the secret of the hooks", hint=f"chmod 600 {path}")
        with path.open("rb") as stream:
            raw = stream.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{path}: the secret of the hooks cannot be read: {error.strerror}") from error
    secret = raw.rstrip(b"\r\n")
    if not secret or len(raw) > _SECRET_LIMIT:
        raise UsageError(f"{path}: holds no secret of at most {_SECRET_LIMIT} bytes")
    return secret
