from __future__ import annotations

import hashlib

import pytest

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HEX = EMPTY.partition(":")[2]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sha256:../../../etc/passwd", id="a path"),
        pytest.param(f"sha256:{HEX.upper()}", id="upper-case hexadecimal"),
        pytest.param(f"sha256:{HEX[:63]}", id="63 digits"),
        pytest.param(f"sha256:{HEX}0", id="65 digits"),
        pytest.param(f"sha256-{HEX}", id="a dash for the colon"),
        pytest.param(f"SHA256:{HEX}", id="upper-case algorithm"),
        pytest.param("md5:d41d8cd98f00b204e9800998ecf8427e", id="md5"),
        pytest.param("sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", id="sha1"),
        pytest.param("", id="empty"),
        pytest.param(f"{EMPTY}\n", id="newline after"),
        pytest.param(f"\n{EMPTY}", id="newline before"),
        pytest.param(f"sha256%3A{HEX}", id="percent-encoded"),
        pytest.param(f"sha256:{HEX[:62]}%41", id="percent-encoded digit"),
        pytest.param("sha256:" + "٣" * 64, id="digits of another script"),
        pytest.param(f"sha512:{HEX}", id="sha512 of the wrong length"),
        pytest.param(HEX, id="no algorithm"),
        pytest.param(None, id="null"),
        pytest.param(17, id="a number"),
        pytest.param([EMPTY], id="a list"),
    ],
)
def test_b01_what_is_no_digest_is_refused_before_a_path_or_url_is_made(text: object) -> None:
    with pytest.raises(IntegrityError, match="is not a digest"):
        Digest.parse(text)


@pytest.mark.parametrize("algorithm", ["blake3", "sha384", "sha256+b64u", "multihash+base58"])
def test_b02_an_algorithm_that_is_not_registered_is_refused(algorithm: str) -> None:
    with pytest.raises(IntegrityError, match="expected sha256: or sha512:"):
        Digest.parse(f"{algorithm}:{HEX}")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_registered_digest_comes_back_as_it_was_written(algorithm: str) -> None:
    text = f"{algorithm}:{hashlib.new(algorithm, b'kit').hexdigest()}"

    digest = Digest.parse(text)

    assert str(digest) == text
    assert digest.algorithm == algorithm
    hasher = digest.hasher()
    hasher.update(b"kit")
    assert Digest.finished(hasher) == digest


def test_the_digest_of_bytes_in_memory_is_their_sha256() -> None:
    assert str(Digest.of(b"")) == EMPTY
    assert Digest.of(memoryview(b"kit")) == Digest.of(bytearray(b"kit"))
    assert Digest.of(b"").short == HEX[:12]


def test_a_hostile_value_is_shown_escaped_and_cut() -> None:
    with pytest.raises(IntegrityError) as caught:
        Digest.parse("\x1b[31m" + "x" * 10_000)

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250
