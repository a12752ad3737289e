"""A new pair of keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlkit.api.session import Session
from mlkit.api.signers import given_password, signer_for
from mlkit.errors import UsageError
from mlkit.trust.key_files import write_pair
from mlkit.trust.keys import KeyForm, KeyType, PrivateKey, generate, render_private_key

_HINT = "MLKIT_KEY_PASSWORD or MLKIT_KEY_PASSWORD_FILE gives one, or a terminal to ask on; --no-password goes without"


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A pair of keys that was written."""

    private_key: Path
    public_key: Path
    type: KeyType
    key_id: str
    """base64 of the sha256 of the public key (SPKI, DER)."""
    is_encrypted: bool


def keygen(
    session: Session,
    stem: Path,
    *,
    kind: KeyType = "ecdsa-p256",
    form: KeyForm = "pkcs8",
    source: Path | None = None,
    no_password: bool = False,
) -> MadeKey:
    """Write `STEM.key` and `STEM.pub`: a new pair, or the one of `source`, a private key of either form, once more.

    Raises: UsageError without a password, or with an empty one; ConflictError where a file exists; StoreError; what
    `signer_for` raises of `source`.
    """
    key = generate(kind) if source is None else _existing(session, source)
    password = None if no_password else _new_password(session, Path(f"{stem}.key"))
    write_pair(stem, render_private_key(key, password, form=form), key.public.pem)
    return MadeKey(
        private_key=Path(f"{stem}.key"),
        public_key=Path(f"{stem}.pub"),
        type=key.public.type,
        key_id=key.key_id,
        is_encrypted=password is not None,
    )


def _existing(session: Session, source: Path) -> PrivateKey:
    key = signer_for(session, source)
    assert isinstance(key, PrivateKey), "a file was named"
    return key


def _new_password(session: Session, path: Path) -> str:
    password = given_password(session)
    if password is None:
        if session.ask_secret is None:
            raise UsageError(f"{path}: no password for the new key", hint=_HINT)
        password = session.ask_secret(f"Password for {path}")
        if password != session.ask_secret("The same once more"):
            raise UsageError(f"{path}: two different passwords were given")
    if not password:
        raise UsageError(f"{path}: an empty password protects nothing", hint="--no-password goes without")
    return password
