"""Texts of keys, to the letter: how they are written, which are taken, and what is said of all others."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.trust.test_keys import costly, der_of, of_cosign, pem

from mlkit.errors import AuthError, IntegrityError, LimitError, MlkitError, NotFoundError, StoreError, UsageError
from mlkit.trust import cosign_keys, pkcs8
from mlkit.trust.keys import (
    KEY_LIMIT,
    KeyType,
    PrivateKey,
    PublicKey,
    generate,
    is_encrypted,
    load_private_key,
    load_public_key,
    parse_private_key,
    read_private_key,
    read_public_key,
    render_private_key,
)

KINDS = "keys are ECDSA P-256 or Ed25519, as `mlkit keygen` makes them"
ALICE, EDWARD = generate(), generate("ed25519")
BOTH = pytest.mark.parametrize("key", [ALICE, EDWARD], ids=["ecdsa-p256", "ed25519"])
ALICE_CLEAR = render_private_key(ALICE, None)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlkit.trust.pkcs8._N", 2)
    monkeypatch.setattr("mlkit.trust.cosign_keys._N", 2)


def refusal(act: Callable[[], object]) -> tuple[type[MlkitError], str, str | None]:
    with pytest.raises(MlkitError) as caught:
        act()
    return type(caught.value), caught.value.message, caught.value.hint


def private_pem(key: object) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined]  # every kind of key has it
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: object) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # likewise


@BOTH
def test_keys_are_written_as_openssl_writes_them(key: PrivateKey) -> None:
    """cryptography writes PEM by OpenSSL's own code."""
    loaded = serialization.load_pem_private_key(render_private_key(key, None).encode(), None)

    assert render_private_key(key, None).encode() == private_pem(loaded)
    assert key.public.pem.encode() == public_pem(loaded.public_key())
    assert base64.b64encode(key.der()).decode() == "".join(render_private_key(key, None).splitlines()[1:-1])


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])
def test_a_new_key_is_of_the_kind_that_was_asked_for(kind: KeyType) -> None:
    key = generate(kind)

    assert key.public.type == kind
    assert load_public_key(key.public.pem.encode(), what="x") == PublicKey(kind, key.public.spki)
    loaded = serialization.load_der_private_key(key.der(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey if kind == "ecdsa-p256" else ed25519.Ed25519PrivateKey)


def test_a_key_of_another_kind_signs_nothing() -> None:
    spki = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    assert PublicKey("ecdsa-p256", spki).is_signature(b"signature", b"message") is False


@BOTH
@pytest.mark.parametrize("signature", [b"", b"x", bytes(64), bytes(72)], ids=["empty", "short", "zeros", "more zeros"])
def test_what_is_no_signature_is_none(key: PrivateKey, signature: bytes) -> None:
    assert key.public.is_signature(signature, b"message") is False


@pytest.mark.usefixtures("cheap")
@BOTH
def test_an_encrypted_key_uses_the_random_bytes_that_it_is_given(key: PrivateKey) -> None:
    def zeros(count: int) -> bytes:
        return bytes(count)

    text = render_private_key(key, "pässwort", random=zeros)

    assert text == render_private_key(key, "pässwort", random=zeros)
    assert text != render_private_key(key, "pässwort")
    assert text.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert der_of(text) == pkcs8.encrypt(key.der(), "pässwort".encode(), zeros)
    assert parse_private_key(text.encode(), "pässwort", what="k").key_id == key.key_id


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("password", ["pässwort", "", None], ids=["accents", "empty", "none"])
def test_a_key_in_the_form_of_cosign_always_has_a_password(password: str | None) -> None:
    def zeros(count: int) -> bytes:
        return bytes(count)

    text = render_private_key(ALICE, password, form="cosign", random=zeros)

    assert text.startswith("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    assert der_of(text) == cosign_keys.encrypt(ALICE.der(), (password or "").encode(), zeros)
    assert parse_private_key(text.encode(), password or "", what="k").key_id == ALICE.key_id
    older = text.replace("SIGSTORE", "COSIGN")
    assert parse_private_key(older.encode(), password or "", what="k").key_id == ALICE.key_id


@pytest.mark.usefixtures("cheap")
def test_a_text_says_whether_it_wants_a_password() -> None:
    assert is_encrypted(render_private_key(ALICE, "p").encode())
    assert is_encrypted(render_private_key(ALICE, "p", form="cosign").encode())
    assert not is_encrypted(ALICE_CLEAR.encode())
    # No more than a key may have is looked at.
    assert is_encrypted(b" " * (KEY_LIMIT + 1 - len(b"ENCRYPTED")) + b"ENCRYPTED")
    assert not is_encrypted(b" " * (KEY_LIMIT + 2 - len(b"ENCRYPTED")) + b"ENCRYPTED")


@pytest.mark.parametrize("more", ["\n", "\r\n", " \t\n\n", ""], ids=["line", "CRLF", "tab", "none"])
def test_white_space_around_a_key_is_no_matter(more: str) -> None:
    text = more + ALICE.public.pem.strip() + more

    assert load_public_key(text.encode(), what="x") == ALICE.public
    assert load_public_key(text.replace("\n", "\r\n").encode(), what="x") == ALICE.public


def test_a_text_as_long_as_may_be_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "k"
    pem_text = ALICE.public.pem.encode()

    path.write_bytes(pem_text.ljust(KEY_LIMIT))
    assert read_public_key(path) == ALICE.public
    path.write_bytes(pem_text.ljust(KEY_LIMIT + 1))
    assert refusal(lambda: read_public_key(path)) == (
        UsageError,
        f"{path}: more than 65536 bytes, which no key has",
        None,
    )
    assert refusal(lambda: load_public_key(pem_text.ljust(KEY_LIMIT + 1), what="x"))[1] == "x: not a key in PEM"


@pytest.mark.parametrize(
    ("raw", "told", "hint"),
    [
        (b"", "k: not a key in PEM", KINDS),
        (ALICE_CLEAR.encode() * 2, "k: not a key in PEM alone", KINDS),
        (b"-----BEGIN PRIVATE KEY-----\n=AAA\n-----END PRIVATE KEY-----\n", "k: not a key in PEM: not base64", KINDS),
        (pem("PRIVATE KEY", b"no"), "k: not a private key", KINDS),
        (ALICE.public.pem.encode(), "k: a public key, where a private one is wanted", None),
        (
            pem("EC PRIVATE KEY", b"x"),
            "k: ec private key is not supported",
            "`openssl pkcs8 -topk8` converts it",
        ),
        (private_pem(rsa.generate_private_key(65537, 2048)), "k: a key of another kind", KINDS),
        (private_pem(ec.generate_private_key(ec.SECP384R1())), "k: a key on the curve secp384r1", KINDS),
    ],
    ids=["empty", "two", "no base64", "no key", "public", "an older form", "RSA", "P-384"],
)
def test_what_is_no_private_key_is_told(raw: bytes, told: str, hint: str | None) -> None:
    assert refusal(lambda: parse_private_key(raw, None, what="k")) == (UsageError, told, hint)


@pytest.mark.parametrize(
    ("raw", "told", "hint"),
    [
        (b"", "k: not a key in PEM", KINDS),
        (ALICE.public.pem.encode() * 2, "k: not a key in PEM alone", KINDS),
        (ALICE_CLEAR.encode(), "k: a private key, where a public one is wanted", "the file that ends in .pub"),
        (
            pem("ENCRYPTED PRIVATE KEY", b"x"),
            "k: a private key, where a public one is wanted",
            "the file that ends in .pub",
        ),
        (pem("CERTIFICATE", b"x"), "k: certificate is not supported", KINDS),
        (ALICE.public.pem.replace("\n-----END", "QUFB\n-----END").encode(), "k: not a key in PEM: not base64", KINDS),
        (pem("PUBLIC KEY", b"no"), "k: not a public key", KINDS),
        (public_pem(rsa.generate_private_key(65537, 2048).public_key()), "k: a key of another kind", KINDS),
        (public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()), "k: a key on the curve secp384r1", KINDS),
    ],
    ids=["empty", "two", "private", "private, encrypted", "a certificate", "more after it", "no key", "RSA", "P-384"],
)
def test_what_is_no_public_key_is_told(raw: bytes, told: str, hint: str | None) -> None:
    assert refusal(lambda: load_public_key(raw, what="k")) == (UsageError, told, hint)


@pytest.mark.usefixtures("cheap")
def test_an_encrypted_key_that_does_not_open_says_why() -> None:
    encrypted = render_private_key(ALICE, "right").encode()
    no_key = pem("ENCRYPTED PRIVATE KEY", pkcs8.encrypt(b"no key at all", b"p", os.urandom))
    of_rsa = serialization.load_pem_private_key(private_pem(rsa.generate_private_key(65537, 2048)), None).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def told(raw: bytes, password: str | None) -> tuple[type[MlkitError], str, str | None]:
        return refusal(lambda: parse_private_key(raw, password, what="k"))

    wants = (AuthError, "k: this key wants a password", "MLKIT_KEY_PASSWORD or MLKIT_KEY_PASSWORD_FILE")
    assert told(encrypted, None) == wants
    assert told(of_cosign(), None) == wants
    wrong = (AuthError, "k: the password does not open this key", None)
    assert told(encrypted, "wrong") == wrong
    assert told(no_key, "p") == wrong
    assert told(of_cosign(), "wrong") == wrong
    assert told(pem("ENCRYPTED PRIVATE KEY", pkcs8.encrypt(of_rsa, b"p", os.urandom)), "p") == (
        UsageError,
        "k: a key of another kind",
        KINDS,
    )
    assert told(costly(2**30, 8, 1), "p")[0] is LimitError


def test_a_container_that_is_broken_is_told_in_its_own_words() -> None:
    raw = pem("ENCRYPTED PRIVATE KEY", b"no")
    with pytest.raises(IntegrityError) as inner:
        pkcs8.decrypt(b"no", b"p", what="k")

    assert inner.value.message.startswith("k: ")
    assert refusal(lambda: parse_private_key(raw, "p", what="k")) == (UsageError, inner.value.message, None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o602, 0o620])
def test_a_private_key_is_for_its_owner_alone(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "mlkit.key"
    path.write_text(ALICE_CLEAR)
    path.chmod(mode)

    told = (UsageError, f"{path}: others may read this private key (mode {mode:04o})", f"chmod 600 {path}")
    assert refusal(lambda: read_private_key(path)) == told
    assert refusal(lambda: load_private_key(path, None)) == told
    for fine in (0o600, 0o400, 0o700):
        path.chmod(fine)
        assert read_private_key(path) == ALICE_CLEAR.encode()
    # Whoever may read a public one is no matter.
    path.write_text(ALICE.public.pem)
    path.chmod(mode)
    assert read_public_key(path) == ALICE.public


@pytest.mark.parametrize("read", [read_private_key, read_public_key])
def test_a_file_that_cannot_be_read_is_told(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()

    assert refusal(lambda: read(tmp_path / "absent")) == (
        NotFoundError,
        f"{tmp_path}/absent: no such key",
        "`mlkit keygen` makes one",
    )
    assert refusal(lambda: read(tmp_path / "folder")) == (UsageError, f"{tmp_path}/folder: not a file", None)
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert refusal(lambda: read(tmp_path / "closed")) == (
        StoreError,
        f"{tmp_path}/closed: cannot be read: Permission denied",
        None,
    )


def test_a_file_is_closed_whatever_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(ALICE.public.pem)
    before = sorted(os.listdir("/dev/fd"))

    read_public_key(tmp_path / "key.pub")
    with pytest.raises(UsageError):
        read_public_key(tmp_path)

    assert sorted(os.listdir("/dev/fd")) == before


def test_the_file_that_is_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("no key")
    path.chmod(0o600)

    for read in (lambda: load_private_key(path, None), lambda: read_public_key(path)):
        assert refusal(read) == (UsageError, f"{path}: not a key in PEM", KINDS)
