"""A stream keeps its promise, or breaks before the last byte."""

from __future__ import annotations

import array
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


class Recorded(io.BytesIO):
    """Remembers how much was asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.asked: list[int] = []

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.asked.append(len(buffer))
        return super().readinto(buffer)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"012", "ends after 3 bytes (expected 10)"),
        (b"0123456789X", "more than the expected 10 bytes"),
        (b"012345678X", f"the content is {blob(b'012345678X').digest}"),
    ],
    ids=["short", "long", "other"],
)
def test_what_is_broken_is_named_for_people_and_for_programs(content: bytes, told: str) -> None:
    digest = blob(b"0123456789").digest

    with pytest.raises(IntegrityError) as caught:
        reader(content, b"0123456789").read()

    assert caught.value.message == f"{digest}: {told}"
    # Who repairs a store finds the blob by this.
    assert caught.value.content == str(digest)


def test_one_byte_beyond_the_promise_is_asked_for_and_no_more() -> None:
    below = Recorded(b"0123456789" * 10)
    stream = VerifyReader(below, blob(b"0123456789"))

    with pytest.raises(SizeMismatch):
        stream.readinto(bytearray(100))

    assert below.asked == [10, 1]


def test_nothing_is_read_where_nothing_is_wanted() -> None:
    below = Recorded(b"0123456789")
    stream = VerifyReader(below, blob(b"0123456789"))

    assert (stream.readinto(bytearray()), stream.read(0), below.asked) == (0, b"", [])
    assert (stream.read(4), stream.read(None)) == (b"0123", b"456789")
    assert stream.readinto(bytearray(5)) == 0


def test_both_are_streams_that_can_be_read_by_whoever_buffers() -> None:
    content = b"0123456789"

    for stream in (reader(content, content), MeteredReader(io.BytesIO(content), lambda _: None)):
        assert stream.readable()
        assert io.BufferedReader(stream, 4).read() == content


def test_a_buffer_of_larger_items_is_filled_with_bytes() -> None:
    content = b"01234567"
    counts: list[int] = []

    for stream in (reader(content, content), MeteredReader(io.BytesIO(content), counts.append)):
        buffer = array.array("I", [0, 0])
        assert stream.readinto(buffer) == 8
        assert buffer.tobytes() == content
    assert counts == [8]


def test_every_read_is_metered_the_end_too() -> None:
    counts: list[int] = []

    def metered() -> MeteredReader:
        return MeteredReader(io.BytesIO(b"0123456789"), counts.append)

    stream = metered()
    assert (stream.read(3), stream.read(None), stream.read()) == (b"012", b"3456789", b"")
    assert (metered().read(-1), metered().readall()) == (b"0123456789", b"0123456789")
    assert counts == [3, 7, 0, 10, 10]


def test_closing_a_meter_leaves_the_stream_open() -> None:
    below = io.BytesIO(b"x")

    MeteredReader(below, lambda _: None).close()

    assert not below.closed


def test_who_has_read_some_cannot_have_the_stream_below() -> None:
    stream = reader(b"0123456789", b"0123456789")
    assert isinstance(unverified(stream), io.BytesIO)  # type: ignore[arg-type]  # see above
    stream.read(1)

    with pytest.raises(AssertionError, match="some bytes have been read already"):
        unverified(stream)  # type: ignore[arg-type]  # see above


def test_a_stream_that_has_nothing_just_now_is_at_its_end() -> None:
    class Blocked(io.RawIOBase):
        def readinto(self, buffer: memoryview) -> None:  # type: ignore[override]
            return None

    stream: BinaryIO = Blocked()  # type: ignore[assignment]  # a stream that does not wait

    assert read_some(stream, memoryview(bytearray(4))) == 0


def test_one_read_gathers_what_comes_byte_by_byte() -> None:
    stream = VerifyReader(Trickle(b"0123456789"), blob(b"0123456789"))  # type: ignore[arg-type]  # see above

    assert (stream.read(4), stream.read()) == (b"0123", b"456789")


def test_what_was_verified_is_not_verified_again() -> None:
    below = Recorded(b"0123456789")
    stream = VerifyReader(below, blob(b"0123456789"))
    stream.read()
    asked = len(below.asked)

    assert (stream.read(), stream.readinto(bytearray(1)), len(below.asked)) == (b"", 0, asked)
