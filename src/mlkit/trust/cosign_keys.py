"""Private keys as cosign writes them: JSON with scrypt and nacl/secretbox around PKCS#8 (the extra `mlkit[cosign]`).

github.com/theupdateframework/go-tuf, encrypted.go, whose container that is. `cryptography` does not have its cipher.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.dsse import decode_base64
from mlkit.spec.json_text import parse_object, render_json
from mlkit.trust.pkcs8 import check_scrypt

if TYPE_CHECKING:
    from nacl.secret import SecretBox

LABELS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
"""Of the PEM block; the second one is older."""
_N, _R, _P = 65536, 8, 1
_LIMIT = 64 * 1024  # bytes


def decrypt(container: bytes, password: bytes, *, what: str) -> bytes | None:
    """The PrivateKeyInfo, None where the password does not open it.

    Raises: IntegrityError for what is malformed; LimitError for parameters that cost too much; UsageError without the
    extra.
    """
    value = parse_object(container, what=what, limit=_LIMIT)
    kdf, cipher = value.get("kdf"), value.get("cipher")
    if not isinstance(kdf, dict) or not isinstance(cipher, dict) or not isinstance(kdf.get("params"), dict):
        raise IntegrityError(f"{what}: not a private key of cosign")
    if (kdf.get("name"), cipher.get("name")) != ("scrypt", "nacl/secretbox"):
        raise IntegrityError(f"{what}: encrypted in a way that is not supported (expected scrypt and nacl/secretbox)")
    n, r, p = (_number(kdf["params"].get(name), what) for name in ("N", "r", "p"))
    check_scrypt(n, r, p, what=what)
    salt = decode_base64(kdf.get("salt"), what=f"{what}: salt")
    nonce = decode_base64(cipher.get("nonce"), what=f"{what}: nonce")
    secret = decode_base64(value.get("ciphertext"), what=f"{what}: ciphertext")
    if len(nonce) != 24:
        raise IntegrityError(f"{what}: a nonce of {len(nonce)} bytes (expected 24)")
    return _open(Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(password), nonce, secret, what)


def encrypt(key_info: bytes, password: bytes, random: Callable[[int], bytes]) -> bytes:
    """The container, as cosign writes it. Raises: UsageError without the extra."""
    salt, nonce = random(32), random(24)
    key = Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(password)
    box = _box(key, "a key for cosign")
    return render_json(
        {
            "kdf": {"name": "scrypt", "params": {"N": _N, "r": _R, "p": _P}, "salt": _text(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
            "ciphertext": _text(box.encrypt(key_info, nonce).ciphertext),
        }
    )


def _open(key: bytes, nonce: bytes, secret: bytes, what: str) -> bytes | None:
    box = _box(key, what)
    from nacl.exceptions import CryptoError

    try:
        return box.decrypt(secret, nonce)
    except CryptoError:
        return None


def _box(key: bytes, what: str) -> SecretBox:
    try:
        from nacl.secret import SecretBox
    except ImportError as error:
        raise UsageError(
            f"{what}: keys of cosign need a library that is not installed", hint="pip install 'mlkit[cosign]'"
        ) from error
    return SecretBox(key)


def _number(value: object, what: str) -> int:
    if type(value) is not int:
        raise IntegrityError(f"{what}: a parameter of scrypt that is no number")
    return value


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
