"""Keys: made, written, read, and the traps in their files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from mlkit.errors import AuthError, LimitError, MlkitError, UsageError
from mlkit.trust.keys import (
    KeyType,
    generate,
    load_private_key,
    load_public_key,
    parse_private_key,
    read_public_key,
    render_private_key,
)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost next to nothing, for tests of something else."""
    monkeypatch.setattr("mlkit.trust.pkcs8._N", 2)
    monkeypatch.setattr("mlkit.trust.cosign_keys._N", 2)


KINDS = pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])


@KINDS
def test_a_signature_is_that_of_its_key_and_of_its_message(kind: KeyType) -> None:
    key, other = generate(kind), generate(kind)

    signature = key.sign(b"message")

    assert key.public.is_signature(signature, b"message")
    assert not key.public.is_signature(signature, b"message ")
    assert not other.public.is_signature(signature, b"message")


@pytest.mark.usefixtures("cheap")
@KINDS
@pytest.mark.parametrize("password", ["correct horse", "", "ü \t", None])
def test_a_key_that_was_written_is_read_again(kind: KeyType, password: str | None, tmp_path: Path) -> None:
    key = generate(kind)
    path = tmp_path / "mlkit.key"
    path.write_text(render_private_key(key, password))
    path.chmod(0o600)

    read = load_private_key(path, password)

    assert read.key_id == key.key_id
    assert key.public.is_signature(read.sign(b"m"), b"m")


@KINDS
def test_a_public_key_is_read_and_named_by_its_hash(kind: KeyType, tmp_path: Path) -> None:
    key = generate(kind).public
    (tmp_path / "mlkit.pub").write_text(key.pem)

    assert read_public_key(tmp_path / "mlkit.pub") == key
    assert base64.b64decode(key.key_id) == hashlib.sha256(key.spki).digest()


@pytest.mark.usefixtures("cheap")
def test_the_wrong_password_is_told_without_details() -> None:
    text = render_private_key(generate(), "right").encode()

    for wrong in ("wrong", "", "right "):
        with pytest.raises(AuthError, match="the password does not open this key"):
            parse_private_key(text, wrong, what="k")
    with pytest.raises(AuthError, match="wants a password"):
        parse_private_key(text, None, what="k")


@pytest.mark.usefixtures("cheap")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlkit.key"
    path.write_text(render_private_key(generate(), "p"))
    path.chmod(0o640)

    with pytest.raises(UsageError, match="mode 0640"):
        load_private_key(path, "p")


def test_no_secret_is_in_what_a_key_shows_of_itself() -> None:
    key = generate()

    assert repr(key) == f"PrivateKey({key.key_id})"


def test_a_file_that_is_none_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(UsageError, match="not a file"):
            read_public_key(path)


def test_public_and_private_are_told_apart() -> None:
    key = generate()

    with pytest.raises(UsageError, match="a private key, where a public one"):
        load_public_key(render_private_key(key, None).encode(), what="x")
    with pytest.raises(UsageError, match="a public key, where a private one"):
        parse_private_key(key.public.pem.encode(), None, what="k")


def pem(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n".encode()


def der_of(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def costly(n: int, r: int, p: int) -> bytes:
    """An encrypted key whose scrypt wants these parameters."""

    def element(tag: int, body: bytes) -> bytes:
        length = bytes([len(body)]) if len(body) < 128 else bytes([0x81, len(body)])
        return bytes([tag]) + length + body

    def number(value: int) -> bytes:
        return element(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    parameters = element(0x30, element(4, bytes(16)) + number(n) + number(r) + number(p))
    kdf = element(0x30, element(6, bytes.fromhex("2b06010401da47040b")) + parameters)
    cipher = element(0x30, element(6, bytes.fromhex("60864801650304012a")) + element(4, bytes(16)))
    scheme = element(0x30, element(6, bytes.fromhex("2a864886f70d01050d")) + element(0x30, kdf + cipher))
    return pem("ENCRYPTED PRIVATE KEY", element(0x30, scheme + element(4, bytes(48))))


def of_cosign(**changes: Any) -> bytes:
    value: dict[str, Any] = {
        "kdf": {"name": "scrypt", "params": {"N": 16, "r": 8, "p": 1}, "salt": "AAAA"},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": "AAAA",
    }
    for name, item in changes.items():
        value[name] = {**value[name], **item} if isinstance(item, dict) else item
    return pem("ENCRYPTED SIGSTORE PRIVATE KEY", json.dumps(value).encode())


SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
RSA_512 = """\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALr/vP8NZDwX2ZkQDSJHjHX5Ib8BXAZr
3vOjYpXjo2kBt9zjl6l5dwKHVmCKcK7l0Jx6MrQrvNJH2wBj1Wp3ZWsCAwEAAQ==
-----END PUBLIC KEY-----
"""


@pytest.mark.usefixtures("cheap")
def test_h11_key_files_cannot_lie_about_what_they_are_or_cost(tmp_path: Path) -> None:
    key = generate()
    private, public = render_private_key(key, "p").encode(), key.public.pem.encode()
    clear = render_private_key(key, None).encode()
    rsa_key = rsa.generate_private_key(65537, 2048)
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    as_private: dict[str, tuple[bytes, type[MlkitError]]] = {
        "wrong password": (render_private_key(key, "other").encode(), AuthError),
        "scrypt of a terabyte": (costly(2**30, 8, 1), LimitError),
        "scrypt with r of a terabyte": (costly(2, 2**30, 1), LimitError),
        "scrypt a thousand times": (costly(2**14, 8, 1000), LimitError),
        "scrypt with N of 3": (costly(3, 8, 1), UsageError),
        "scrypt with N of 0": (costly(0, 8, 1), UsageError),
        "cosign, scrypt of a terabyte": (of_cosign(kdf={"params": {"N": 2**30, "r": 8, "p": 1}}), LimitError),
        "cosign, N as text": (of_cosign(kdf={"params": {"N": "16", "r": 8, "p": 1}}), UsageError),
        "cosign, other cipher": (of_cosign(cipher={"name": "none"}), UsageError),
        "cosign, short nonce": (of_cosign(cipher={"nonce": "AAAA"}), UsageError),
        "cosign, no kdf": (of_cosign(kdf=None), UsageError),
        "cosign, no JSON": (pem("ENCRYPTED COSIGN PRIVATE KEY", b"no"), UsageError),
        "cosign, wrong password": (of_cosign(), AuthError),
        "cut short": (private[: len(private) // 2], UsageError),
        "cut inside": (pem("ENCRYPTED PRIVATE KEY", der_of(private.decode())[:-20]), UsageError),
        "two keys": (private + private, UsageError),
        "a public key beside it": (clear + public, UsageError),
        "public": (public, UsageError),
        "RSA": (rsa_key.private_bytes(*pkcs8), UsageError),
        "P-384": (ec.generate_private_key(ec.SECP384R1()).private_bytes(*pkcs8), UsageError),
        "X25519": (x25519.X25519PrivateKey.generate().private_bytes(*pkcs8), UsageError),
        "the older form of EC keys": (pem("EC PRIVATE KEY", b"x"), UsageError),
        "a certificate": (pem("CERTIFICATE", b"x"), UsageError),
        "empty": (b"", UsageError),
        "no base64": (b"-----BEGIN PRIVATE KEY-----\n====\n-----END PRIVATE KEY-----\n", UsageError),
        "no DER": (pem("PRIVATE KEY", b"no"), UsageError),
        "no DER, encrypted": (pem("ENCRYPTED PRIVATE KEY", b"no"), UsageError),
        "endless": (private + b"\n" * 100_000, UsageError),
        "binary": (bytes(range(256)) * 10, UsageError),
    }
    as_public = {
        "the point at infinity": pem("PUBLIC KEY", b"\x30\x19" + SPKI_P256[2:23] + bytes.fromhex("03020000")),
        "no point of the curve": pem("PUBLIC KEY", SPKI_P256 + b"\x04" + bytes(64)),
        "the point at infinity, long": pem("PUBLIC KEY", SPKI_P256 + bytes(65)),
        "RSA of 512 bits": RSA_512.encode(),
        "RSA": rsa_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "private": clear,
        "private, encrypted": private,
        "two keys": public + public,
        "cut short": public[:-40],
        "no key": b"ssh-ed25519 AAAA alice",
    }

    for case, (text, error) in as_private.items():
        with pytest.raises(error) as caught:
            parse_private_key(text, "p", what="k")
        assert "\n" not in caught.value.message, case
    for case, text in as_public.items():
        with pytest.raises(UsageError):
            pytest.fail(f"{case}: {load_public_key(text, what='x')}")


@pytest.mark.usefixtures("cheap")
def test_no_flipped_bit_of_an_encrypted_key_opens_another_one() -> None:
    key = generate()
    der = der_of(render_private_key(key, "p"))
    opened = 0

    for position in range(len(der)):
        changed = der[:position] + bytes([der[position] ^ 1]) + der[position + 1 :]
        try:
            opened += parse_private_key(pem("ENCRYPTED PRIVATE KEY", changed), "p", what="k").key_id != key.key_id
        except MlkitError:
            continue
    assert opened == 0


def openssl(*arguments: str | Path) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@KINDS
def test_openssl_opens_what_mlkit_writes_and_the_other_way_round(kind: KeyType, tmp_path: Path) -> None:
    key = generate(kind)
    (tmp_path / "ours.key").write_text(render_private_key(key, "secret"))

    told = openssl("pkey", "-in", tmp_path / "ours.key", "-passin", "pass:secret", "-pubout")
    openssl(
        "pkcs8",
        "-topk8",
        "-in",
        tmp_path / "ours.key",
        "-passin",
        "pass:secret",
        "-out",
        tmp_path / "theirs.key",
        "-passout",
        "pass:other",
    )
    (tmp_path / "theirs.key").chmod(0o600)

    assert load_public_key(told.encode(), what="x") == key.public
    assert load_private_key(tmp_path / "theirs.key", "other").key_id == key.key_id
    with pytest.raises(AuthError):
        load_private_key(tmp_path / "theirs.key", "secret")


@pytest.mark.parametrize("password", ["secret", None])
def test_a_key_in_the_form_of_cosign_is_read_again(password: str | None) -> None:
    key = generate()

    text = render_private_key(key, password, form="cosign").encode()

    assert parse_private_key(text, password or "", what="k").key_id == key.key_id
    with pytest.raises(AuthError, match="does not open"):
        parse_private_key(text, "wrong", what="k")


def test_without_the_extra_a_key_of_cosign_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render_private_key(generate(), "p", form="cosign").encode()
    monkeypatch.setitem(sys.modules, "nacl.secret", None)

    with pytest.raises(UsageError) as caught:
        parse_private_key(text, "p", what="k")
    assert caught.value.hint == "pip install 'mlkit[cosign]'"
