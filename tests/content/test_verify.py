"""A stream keeps its promise, or breaks before the last byte."""

from __future__ import annotations

import hashlib
import io
from typing import BinaryIO

import pytest
from tests.content.contract import blob

from mlkit.content.verify import MeteredReader, VerifyReader, read_some, unverified
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


class Trickle(io.RawIOBase):
    """Gives one byte at a time and counts how many it gave."""

    def __init__(self, content: bytes) -> None:
        self.stream = io.BytesIO(content)
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        chunk = self.stream.read(min(1, len(buffer)))
        buffer[: len(chunk)] = chunk
        self.given += len(chunk)
        return len(chunk)


class ReadOnly:
    """A stream of the oldest kind, with nothing but `read`."""

    def __init__(self, content: bytes) -> None:
        self.read = io.BytesIO(content).read

    def close(self) -> None:
        pass


def reader(content: bytes, promised: bytes) -> VerifyReader:
    return VerifyReader(io.BytesIO(content), blob(promised))


def drain(stream: VerifyReader, piece: int, into: bytearray) -> None:
    """Read to the end, keeping what came even if the end is an error."""
    while chunk := stream.read(piece):
        into += chunk


@pytest.mark.parametrize("size", [-1, 1, 3, 10, 11], ids=str)
def test_sound_bytes_pass_in_pieces_of_any_size(size: int) -> None:
    stream = reader(b"0123456789", b"0123456789")

    found = b"".join(iter(lambda: stream.read(size), b""))

    assert found == b"0123456789"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"012345678X", DigestMismatch),
        (b"X123456789", DigestMismatch),
        (b"012345678", SizeMismatch),
        (b"", SizeMismatch),
        (b"0123456789X", SizeMismatch),
        (b"0123456789" * 1000, SizeMismatch),
    ],
    ids=["last", "first", "short", "none", "long", "endless"],
)
@pytest.mark.parametrize("piece", [1, 4, 10, 100], ids=str)
def test_b04_wrong_bytes_never_leave_whole(content: bytes, error: type[IntegrityError], piece: int) -> None:
    source = Trickle(content)
    stream = VerifyReader(source, blob(b"0123456789"))  # type: ignore[arg-type]  # a RawIOBase reads like a BinaryIO
    left = bytearray()

    with pytest.raises(error):
        drain(stream, piece, left)

    assert len(left) < 10
    assert source.given <= 11


def test_a_reader_that_asks_for_exactly_the_size_is_told_too() -> None:
    stream = reader(b"012345678X", b"0123456789")

    with pytest.raises(DigestMismatch, match=blob(b"0123456789").digest.hex):
        stream.read(10)


def test_readinto_verifies_as_read_does() -> None:
    stream = reader(b"012345678X", b"0123456789")
    buffer = bytearray(10)

    with pytest.raises(DigestMismatch):
        stream.readinto(buffer)


def test_content_that_should_be_empty_and_is_not_breaks_on_any_read() -> None:
    with pytest.raises(SizeMismatch):
        reader(b"X", b"").read(0)


def test_an_empty_content_with_the_digest_of_another_is_refused() -> None:
    desc = Descriptor("text/plain", Digest.of(b"something"), 0)

    with pytest.raises(DigestMismatch):
        VerifyReader(io.BytesIO(b""), desc).read(0)


def test_the_end_may_be_read_again_and_again() -> None:
    stream = reader(b"0123456789", b"0123456789")
    stream.read()

    assert [stream.read(), stream.read(1), stream.readall()] == [b"", b"", b""]


def test_sha512_is_verified_too() -> None:
    desc = Descriptor("text/plain", Digest("sha512", hashlib.sha512(b"abc").hexdigest()), 3)

    assert VerifyReader(io.BytesIO(b"abc"), desc).read() == b"abc"
    with pytest.raises(DigestMismatch):
        VerifyReader(io.BytesIO(b"abd"), desc).read()


def test_closing_closes_what_is_below() -> None:
    below = io.BytesIO(b"x")

    VerifyReader(below, blob(b"x")).close()
    VerifyReader(below, blob(b"x")).close()

    assert below.closed


def test_a_stream_without_readinto_can_be_read() -> None:
    stream: BinaryIO = ReadOnly(b"0123456789")  # type: ignore[assignment]  # the least that a stream can be
    buffer = bytearray(4)

    assert read_some(stream, memoryview(buffer)) == 4
    assert buffer == b"0123"


def test_a_store_gets_the_stream_below_the_verification_still_metered() -> None:
    counts: list[int] = []
    below = io.BytesIO(b"01X")
    stream = MeteredReader(VerifyReader(below, blob(b"012")), counts.append)  # type: ignore[arg-type]  # see above

    raw = unverified(stream)  # type: ignore[arg-type]  # see above

    assert raw.read(2) == b"01"
    assert raw.read(2) == b"X"
    assert counts == [2, 1]
    assert unverified(below) is below
