"""The public Python API of trust: keys, signatures, attestations, and whether they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlkit.api import keygen as making
from mlkit.api import signing, verifying
from mlkit.api.public import PathLike, _using
from mlkit.api.session import Session
from mlkit.api.signers import require_signer
from mlkit.spec.reference import Reference
from mlkit.trust.keys import KeyForm, KeyType
from mlkit.trust.signer import Signer

Key = PathLike | Signer | None


def keygen(
    stem: PathLike,
    *,
    type: KeyType = "ecdsa-p256",
    form: KeyForm = "pkcs8",
    source: PathLike | None = None,
    no_password: bool = False,
    session: Session | None = None,
) -> making.MadeKey:
    """Write `STEM.key` and `STEM.pub`; the password is that of the environment, `MLKIT_KEY_PASSWORD` or `_FILE`.

    With `source`, a private key in a file, no new one is made: it is written once more, in the `form` asked for.
    """
    with _using(session, None) as found:
        return making.keygen(
            found,
            Path(stem),
            kind=type,
            form=form,
            source=Path(source) if source is not None else None,
            no_password=no_password,
        )


def sign(
    reference: str, *, key: Key = None, legacy: bool = False, remote: bool = False, session: Session | None = None
) -> signing.Signed:
    """Sign a kit, in the local store first; `key` is a file, or anything that signs, else the setting `signing_key`."""
    with _using(session, None) as found:
        signer = _signer(found, key)
        return signing.sign(found, Reference.parse(reference), signer=signer, legacy=legacy, remote=remote)


def attest(
    reference: str,
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    key: Key = None,
    remote: bool = False,
    session: Session | None = None,
) -> signing.Signed:
    """Attach a signed statement to a kit; `predicate_type` is a URI or a short name such as `slsaprovenance1`."""
    with _using(session, None) as found:
        signer = _signer(found, key)
        return signing.attest(
            found, Reference.parse(reference), predicate_type, predicate, signer=signer, remote=remote
        )


def verify(
    reference: str,
    *,
    keys: PathLike | Iterable[PathLike] = (),
    predicate_type: str = "sign",
    remote: bool = False,
    session: Session | None = None,
) -> verifying.Verification:
    """Check that the owner of one of `keys` stands for a kit, and give its digest with what was matched.

    Raises: PolicyError where none does.
    """
    paths = [keys] if isinstance(keys, str | os.PathLike) else list(keys)
    with _using(session, None) as found:
        verification = verifying.verify(
            found,
            Reference.parse(reference),
            keys=[Path(path) for path in paths],
            predicate_type=predicate_type,
            remote=remote,
        )
    verification.require()
    return verification


def _signer(session: Session, key: Key) -> Signer:
    if key is None or isinstance(key, str | os.PathLike):
        return require_signer(session, Path(key) if key is not None else None)
    return key
