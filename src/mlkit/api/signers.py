"""Whose key signs: found by flag and setting, opened with a password from the environment, a file or a person."""

from __future__ import annotations

from pathlib import Path

from mlkit.api.session import Session
from mlkit.errors import UsageError
from mlkit.trust.keys import is_encrypted, parse_private_key, read_private_key
from mlkit.trust.signer import Signer

_PASSWORD_LIMIT = 4096  # bytes of a file with a password in it


def signer_for(session: Session, key: Path | None = None) -> Signer | None:
    """The private key to sign with: `key`, else the setting `signing_key`; None where there is neither.

    Raises: NotFoundError, UsageError for what is no key; AuthError without its password.
    """
    path = key or session.settings.signing_key
    if path is None:
        return None
    raw = read_private_key(path)
    password = given_password(session) if is_encrypted(raw) else None
    if password is None and is_encrypted(raw) and session.ask_secret is not None:
        password = session.ask_secret(f"Password of {path}")
    return parse_private_key(raw, password, what=str(path))


def require_signer(session: Session, key: Path | None) -> Signer:
    """Like `signer_for`. Raises also: UsageError where no key is named anywhere."""
    signer = signer_for(session, key)
    if signer is None:
        raise UsageError(
            "no key to sign with", hint="--key names one, or the setting signing_key; `mlkit keygen` makes one"
        )
    return signer


def given_password(session: Session) -> str | None:
    """The password of the environment, or of the file that it names; None without either. Raises: UsageError."""
    given = session.settings.key_password
    if given is None or given.file is None:
        return given.text if given else None
    try:
        with given.file.open("rb") as stream:
            raw = stream.read(_PASSWORD_LIMIT + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{given.file}: no password can be read there ({given.source})") from error
    if len(raw) > _PASSWORD_LIMIT:
        raise UsageError(f"{given.file}: more than {_PASSWORD_LIMIT} bytes, which no password has")
    # One line end is the editor's; anything else belongs to the password.
    return text.removesuffix("\n").removesuffix("\r")
