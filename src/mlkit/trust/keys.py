"""Keys: ECDSA on P-256 with SHA-256, and Ed25519. Public ones in PEM (SPKI), private ones in PKCS#8.

Other kinds are refused when they are read: programs disagree on the hash that goes with P-384 and P-521, and RSA has
paddings and lengths to choose wrongly. Which algorithm a signature is of is never read from the signature: the key
says it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mlkit.errors import AuthError, IntegrityError, NotFoundError, StoreError, UsageError
from mlkit.trust import cosign_keys, pkcs8

KeyType = Literal["ecdsa-p256", "ed25519"]
KeyForm = Literal["pkcs8", "cosign"]

KEY_LIMIT = 64 * 1024
"""Bytes of a key file; a PEM of these kinds has less than one thousand."""
_ECDSA = ec.ECDSA(hashes.SHA256())
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----\r?\n([A-Za-z0-9+/=\r\n]{1,65536})-----END \1-----\s*", re.ASCII)
_KINDS = "keys are ECDSA P-256 or Ed25519, as `mlkit keygen` makes them"

_ENCRYPTED = frozenset({"ENCRYPTED PRIVATE KEY", *cosign_keys.LABELS})

_Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that tells whether a signature is its owner's."""

    type: KeyType
    spki: bytes
    """SubjectPublicKeyInfo, DER."""

    @property
    def key_id(self) -> str:
        """base64 of the sha256 of the SPKI: what bundles give as a hint."""
        return base64.b64encode(hashlib.sha256(self.spki).digest()).decode("ascii")

    @property
    def pem(self) -> str:
        """The text of a key file."""
        return _pem("PUBLIC KEY", self.spki)

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the key has signed `message`."""
        key = serialization.load_der_public_key(self.spki)
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, _ECDSA)
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                return False
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs; a `Signer`. Never shown to people, not even by `repr`."""

    __slots__ = ("_key", "public")

    def __init__(self, key: _Private) -> None:
        self._key = key
        self.public = _public(key.public_key())

    @property
    def key_id(self) -> str:
        """See `PublicKey.key_id`."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """A signature of `message`: DER of ECDSA with SHA-256, or Ed25519."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA)

    def der(self) -> bytes:
        """PrivateKeyInfo, DER, in the clear."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return f"PrivateKey({self.key_id})"


def generate(kind: KeyType = "ecdsa-p256") -> PrivateKey:
    """A new key."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa-p256" else _new_ed25519())


def render_private_key(
    key: PrivateKey,
    password: str | None,
    *,
    form: KeyForm = "pkcs8",
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """The text of a key file; `password` None leaves the key in the clear, which the form of cosign does not know.

    Raises: UsageError for the form of cosign without the extra.
    """
    if form == "cosign":
        return _pem(cosign_keys.LABELS[0], cosign_keys.encrypt(key.der(), (password or "").encode("utf-8"), random))
    if password is None:
        return _pem("PRIVATE KEY", key.der())
    return _pem("ENCRYPTED PRIVATE KEY", pkcs8.encrypt(key.der(), password.encode("utf-8"), random))


def is_encrypted(raw: bytes) -> bool:
    """Whether the text of a key file says that it wants a password."""
    return b"ENCRYPTED" in raw[: KEY_LIMIT + 1]


def load_private_key(path: Path, password: str | None) -> PrivateKey:
    """The key in a file that nobody else may read.

    Raises: what `read_private_key` and `parse_private_key` raise.
    """
    return parse_private_key(read_private_key(path), password, what=str(path))


def read_private_key(path: Path) -> bytes:
    """The text of a private key file. Raises: NotFoundError, StoreError; UsageError where others may read it."""
    raw, mode = _read(path)
    if mode & 0o077:
        raise UsageError(
            f"{path}: others may read this private key (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )
    return raw


def parse_private_key(raw: bytes, password: str | None, *, what: str) -> PrivateKey:
    """The key in the text of a key file.

    Raises: UsageError for what is no such key; AuthError without the right password; LimitError for one that costs too
    much to open.
    """
    kind, der = _block(raw, what)
    if kind in _ENCRYPTED:
        if password is None:
            raise AuthError(f"{what}: this key wants a password", hint="MLKIT_KEY_PASSWORD or MLKIT_KEY_PASSWORD_FILE")
        decrypt = pkcs8.decrypt if kind == "ENCRYPTED PRIVATE KEY" else cosign_keys.decrypt
        try:
            opened = decrypt(der, password.encode("utf-8"), what=what)
        except IntegrityError as error:
            raise UsageError(error.message) from error
        found = _parsed(opened) if opened is not None else None
        # A wrong password now and then unpads to something, which is then no key: one answer for both.
        if found is None:
            raise AuthError(f"{what}: the password does not open this key")
    elif kind == "PRIVATE KEY":
        found = _parsed(der)
        if found is None:
            raise UsageError(f"{what}: not a private key", hint=_KINDS)
    elif kind == "PUBLIC KEY":
        raise UsageError(f"{what}: a public key, where a private one is wanted")
    else:
        raise UsageError(f"{what}: {kind.lower()} is not supported", hint="`openssl pkcs8 -topk8` converts it")
    if not isinstance(found, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise UsageError(f"{what}: a key of another kind", hint=_KINDS)
    if isinstance(found, ec.EllipticCurvePrivateKey) and found.curve.name != "secp256r1":
        raise UsageError(f"{what}: a key on the curve {found.curve.name}", hint=_KINDS)
    return PrivateKey(found)


def load_public_key(raw: bytes, *, what: str) -> PublicKey:
    """The key in the text of a key file. Raises: UsageError for what is no such key, or of another kind."""
    kind, der = _block(raw, what)
    if kind.endswith("PRIVATE KEY"):
        raise UsageError(f"{what}: a private key, where a public one is wanted", hint="the file that ends in .pub")
    if kind != "PUBLIC KEY":
        raise UsageError(f"{what}: {kind.lower()} is not supported", hint=_KINDS)
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{what}: not a public key", hint=_KINDS) from error
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise UsageError(f"{what}: a key of another kind", hint=_KINDS)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != "secp256r1":
        raise UsageError(f"{what}: a key on the curve {key.curve.name}", hint=_KINDS)
    return _public(key)


def read_public_key(path: Path) -> PublicKey:
    """The public key in a file. Raises: NotFoundError, StoreError; UsageError for what is no such key."""
    return load_public_key(_read(path)[0], what=str(path))


def _read(path: Path) -> tuple[bytes, int]:
    try:
        # A FIFO must not hang; what is no regular file is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            raw = os.read(descriptor, KEY_LIMIT + 1) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such key", hint="`mlkit keygen` makes one") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: not a file")
    if len(raw) > KEY_LIMIT:
        raise UsageError(f"{path}: more than {KEY_LIMIT} bytes, which no key has")
    return raw, mode


def _block(raw: bytes, what: str) -> tuple[str, bytes]:
    """Kind and content of the one PEM block. Raises: UsageError."""
    found = _PEM.fullmatch(raw.strip()) if len(raw) <= KEY_LIMIT else None
    if found is None:
        several = " alone" if raw.count(b"-----BEGIN") > 1 else ""
        raise UsageError(f"{what}: not a key in PEM{several}", hint=_KINDS)
    try:
        return found[1].decode("ascii"), base64.b64decode(b"".join(found[2].split()), validate=True)
    except ValueError as error:
        raise UsageError(f"{what}: not a key in PEM: not base64", hint=_KINDS) from error


def _parsed(der: bytes) -> object:
    try:
        return serialization.load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _public(key: _Public) -> PublicKey:
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey("ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "ecdsa-p256", spki)


def _new_ed25519() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def _pem(kind: str, der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])
