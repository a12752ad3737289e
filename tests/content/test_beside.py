"""A second thread hashes: the same promise as VerifyReader's, over blocks and over their edges."""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO, cast

import pytest
from tests.content.contract import blob
from tests.content.test_verify import Trickle

from mlkit.content.beside import HashedBeside
from mlkit.errors import DigestMismatch, IntegrityError, SizeMismatch

MIB = 1 << 20
CONTENT = os.urandom(3 * MIB + 77)


def drain(stream: HashedBeside, piece: int) -> tuple[bytes, IntegrityError | None]:
    """What came, and the error in place of the rest."""
    found = bytearray()
    try:
        while chunk := stream.read(piece):
            found += chunk
    except IntegrityError as error:
        return bytes(found), error
    finally:
        stream.close()
    return bytes(found), None


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, len(CONTENT)], ids=str)
@pytest.mark.parametrize("piece", [4096, MIB, 5 * MIB], ids=str)
def test_sound_bytes_pass_in_pieces_of_any_size(size: int, piece: int) -> None:
    content = CONTENT[:size]

    assert drain(HashedBeside(io.BytesIO(content), blob(content)), piece) == (content, None)


def test_a_stream_that_trickles_is_read_to_its_end() -> None:
    source = Trickle(CONTENT[:5000])

    assert drain(HashedBeside(cast(BinaryIO, source), blob(CONTENT[:5000])), 512) == (CONTENT[:5000], None)


def flipped(at: int) -> bytes:
    return CONTENT[:at] + bytes([CONTENT[at] ^ 1]) + CONTENT[at + 1 :]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (flipped(0), DigestMismatch),
        (flipped(MIB), DigestMismatch),
        (flipped(len(CONTENT) - 1), DigestMismatch),
        (CONTENT[:-1], SizeMismatch),
        (CONTENT[:MIB], SizeMismatch),
        (b"", SizeMismatch),
        (CONTENT + b"x", SizeMismatch),
        (CONTENT * 2, SizeMismatch),
    ],
    ids=["first", "second block", "last", "short", "a block only", "none", "long", "twice"],
)
@pytest.mark.parametrize("piece", [4096, 5 * MIB], ids=str)
def test_wrong_bytes_never_leave_whole(content: bytes, error: type[IntegrityError], piece: int) -> None:
    source = io.BytesIO(content)

    found, raised = drain(HashedBeside(source, blob(CONTENT)), piece)

    assert isinstance(raised, error)
    assert len(found) < len(CONTENT)
    assert source.tell() <= len(CONTENT) + 1


def test_a_reader_that_stops_half_way_leaves_no_thread_and_the_stream_open() -> None:
    source = io.BytesIO(CONTENT)

    with HashedBeside(source, blob(CONTENT)) as stream:
        assert stream.read(10) == CONTENT[:10]

    assert not source.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlkit-hash")]


def test_the_end_may_be_read_again_and_again() -> None:
    with HashedBeside(io.BytesIO(CONTENT), blob(CONTENT)) as stream:
        while stream.read(MIB):
            pass

        assert [stream.read(1), stream.read(5)] == [b"", b""]
