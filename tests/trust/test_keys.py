"""Keys: made, written, read, and the traps in their files."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from mlkit.errors import AuthError, UsageError
from mlkit.trust.keys import (
    KeyType,
    generate,
    load_private_key,
    load_public_key,
    parse_private_key,
    read_public_key,
    render_private_key,
)

KINDS = pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])


@KINDS
def test_a_signature_is_that_of_its_key_and_of_its_message(kind: KeyType) -> None:
    key, other = generate(kind), generate(kind)

    signature = key.sign(b"message")

    assert key.public.is_signature(signature, b"message")
    assert not key.public.is_signature(signature, b"message ")
    assert not other.public.is_signature(signature, b"message")


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


def test_the_wrong_password_is_told_without_details() -> None:
    text = render_private_key(generate(), "right").encode()

    for wrong in ("wrong", "", "right "):
        with pytest.raises(AuthError, match="the password does not open this key"):
            parse_private_key(text, wrong, what="k")
    with pytest.raises(AuthError, match="wants a password"):
        parse_private_key(text, None, what="k")


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
        load_public_key(render_private_key(key, None).encode())
    with pytest.raises(UsageError, match="a public key, where a private one"):
        parse_private_key(key.public.pem.encode(), None, what="k")
