"""Private keys under a password: PKCS#8 with PBES2, scrypt and AES-256-CBC (RFC 5958, 8018, 7914).

`cryptography` writes PBKDF2 with few rounds only, so the container is written here, and read here as far as its
parameters go: what they cost is known before anything is computed. OpenSSL reads what this writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from mlkit.errors import IntegrityError, LimitError

# OWASP's recommendation for passwords that fits into the 32 MiB which OpenSSL allows.
_N, _R, _P = 2**14, 8, 5
_COST_LIMIT = 2**20 * 8  # N times r: 1 GiB of memory; what asks for more is no key but an attack on who opens it
_P_LIMIT = 16
_ROUNDS_LIMIT = 10_000_000  # of PBKDF2, a few seconds

_SEQUENCE, _INTEGER, _OCTETS, _OID = 0x30, 0x02, 0x04, 0x06
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")


@dataclass(frozen=True, slots=True)
class _Scrypt:
    salt: bytes
    n: int
    r: int
    p: int

    def key(self, password: bytes) -> bytes:
        return Scrypt(salt=self.salt, length=32, n=self.n, r=self.r, p=self.p).derive(password)


def check_scrypt(n: int, r: int, p: int, *, what: str) -> None:
    """Whether these parameters may be computed. Raises: LimitError for what costs too much; IntegrityError."""
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise IntegrityError(f"{what}: scrypt with N={n} r={r} p={p} makes no sense")
    if n * r > _COST_LIMIT or p > _P_LIMIT:
        raise LimitError(f"{what}: scrypt with N={n} r={r} p={p} costs more than the limit of N*r={_COST_LIMIT}")


def encrypt(key_info: bytes, password: bytes, random: Callable[[int], bytes]) -> bytes:
    """EncryptedPrivateKeyInfo, DER, around a PrivateKeyInfo."""
    kdf = _Scrypt(random(16), _N, _R, _P)
    iv = random(16)
    padder = PKCS7(128).padder()
    encryptor = Cipher(AES(kdf.key(password)), CBC(iv)).encryptor()
    secret = encryptor.update(padder.update(key_info) + padder.finalize()) + encryptor.finalize()
    parameters = _der(
        _SEQUENCE, _der(_OCTETS, kdf.salt) + b"".join(_der(_INTEGER, _integer(value)) for value in (_N, _R, _P))
    )
    derivation = _der(_SEQUENCE, _der(_OID, _SCRYPT) + parameters)
    cipher = _der(_SEQUENCE, _der(_OID, _AES_256_CBC) + _der(_OCTETS, iv))
    algorithm = _der(_SEQUENCE, _der(_OID, _PBES2) + _der(_SEQUENCE, derivation + cipher))
    return _der(_SEQUENCE, algorithm + _der(_OCTETS, secret))


def decrypt(encrypted: bytes, password: bytes, *, what: str) -> bytes | None:
    """The PrivateKeyInfo, None where the password does not open it.

    Raises: IntegrityError for what is malformed or of another kind; LimitError for parameters that cost too much.
    """
    container = _Reader(_Reader(encrypted, what).only(_SEQUENCE), what)
    algorithm = _Reader(container.next(_SEQUENCE), what)
    secret = container.next(_OCTETS)
    container.end()
    if algorithm.next(_OID) != _PBES2:
        raise IntegrityError(f"{what}: encrypted in a way that is not supported (expected PBES2)")
    schemes = _Reader(algorithm.next(_SEQUENCE), what)
    derivation = _Reader(schemes.next(_SEQUENCE), what)
    cipher = _Reader(schemes.next(_SEQUENCE), what)
    kind = derivation.next(_OID)
    if kind == _PBKDF2:
        _check_rounds(derivation, what)
        return _by_library(encrypted, password)
    if kind != _SCRYPT or cipher.next(_OID) != _AES_256_CBC:
        raise IntegrityError(f"{what}: encrypted in a way that is not supported (expected scrypt and AES-256-CBC)")
    return _decrypted(_scrypt(derivation, what), cipher.next(_OCTETS), secret, password, what)


def _scrypt(derivation: _Reader, what: str) -> _Scrypt:
    parameters = _Reader(derivation.next(_SEQUENCE), what)
    salt = parameters.next(_OCTETS)
    n, r, p = (parameters.number() for _ in range(3))
    check_scrypt(n, r, p, what=what)
    if not parameters.is_empty and parameters.number() != 32:
        raise IntegrityError(f"{what}: a key of another length than AES-256 has")
    return _Scrypt(salt, n, r, p)


def _check_rounds(derivation: _Reader, what: str) -> None:
    parameters = _Reader(derivation.next(_SEQUENCE), what)
    parameters.next(_OCTETS)
    rounds = parameters.number()
    if rounds > _ROUNDS_LIMIT:
        raise LimitError(f"{what}: PBKDF2 with {rounds} rounds (at most {_ROUNDS_LIMIT})")


def _by_library(encrypted: bytes, password: bytes) -> bytes | None:
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_der_private_key(encrypted, password)
    except ValueError:
        return None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _decrypted(kdf: _Scrypt, iv: bytes, secret: bytes, password: bytes, what: str) -> bytes | None:
    if len(iv) != 16 or not secret or len(secret) % 16:
        raise IntegrityError(f"{what}: not whole blocks of AES-256-CBC")
    decryptor = Cipher(AES(kdf.key(password)), CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    try:
        return unpadder.update(decryptor.update(secret) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        return None


def _der(tag: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def _integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


class _Reader:
    """DER elements one after the other; every length is checked against what is there."""

    def __init__(self, raw: bytes, what: str) -> None:
        self._raw = raw
        self._what = what

    @property
    def is_empty(self) -> bool:
        return not self._raw

    def end(self) -> None:
        if self._raw:
            raise IntegrityError(f"{self._what}: not a well-formed key: more than one was announced")

    def only(self, tag: int) -> bytes:
        body = self.next(tag)
        self.end()
        return body

    def next(self, tag: int) -> bytes:
        raw = self._raw
        if len(raw) < 2 or raw[0] != tag:
            raise IntegrityError(f"{self._what}: not a well-formed key (DER)")
        start, length = 2, raw[1]
        if length >= 0x80:
            start += length - 0x80
            # Four bytes of length are more than a key file may have.
            if not 1 <= length - 0x80 <= 4 or len(raw) < start:
                raise IntegrityError(f"{self._what}: not a well-formed key (DER length)")
            length = int.from_bytes(raw[2:start], "big")
        if len(raw) < start + length:
            raise IntegrityError(f"{self._what}: ends early")
        self._raw = raw[start + length :]
        return raw[start : start + length]

    def number(self) -> int:
        body = self.next(_INTEGER)
        if not body or len(body) > 8 or body[0] & 0x80:
            raise IntegrityError(f"{self._what}: a number that is negative or too large")
        return int.from_bytes(body, "big")
