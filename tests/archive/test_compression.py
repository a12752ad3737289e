from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import tracemalloc
import zlib
from typing import BinaryIO

import pytest
import zstandard
from tests.support.tars import archive, file

from mlkit.archive import compression
from mlkit.archive.compression import compressor, decompressed
from mlkit.archive.limits import Limits
from mlkit.archive.reader import TarReader
from mlkit.errors import IntegrityError, LimitError, MlkitError
from mlkit.spec.kit_document import Compression

_CONTENT = random.Random(7).randbytes(300_000) + b"weights " * 200_000


def _squeezed(kind: Compression, *chunks: bytes) -> bytes:
    sink = io.BytesIO()
    packed = compressor(kind, sink)
    for chunk in chunks:
        packed.write(chunk)
    packed.finish()
    return sink.getvalue()


def _expanded(content: bytes, kind: Compression, limits: Limits = Limits()) -> bytes:  # noqa: B008 - frozen
    return decompressed(io.BytesIO(content), kind, limits=limits).read()


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("content", [b"", b"x", _CONTENT], ids=["empty", "byte", "large"])
def test_what_is_compressed_comes_back(kind: Compression, content: bytes) -> None:
    assert _expanded(_squeezed(kind, content), kind) == content


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_the_same_bytes_come_out_however_they_went_in(kind: Compression) -> None:
    pieces = [_CONTENT[start : start + 70_001] for start in range(0, len(_CONTENT), 70_001)]

    assert _squeezed(kind, *pieces) == _squeezed(kind, _CONTENT)
    assert _squeezed(kind, bytearray(_CONTENT)) == _squeezed(kind, memoryview(_CONTENT).tobytes())


@pytest.mark.parametrize("cores", [None, 1, 2, 64])
def test_zstd_does_not_depend_on_the_number_of_cores(cores: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    content = random.Random(8).randbytes(1 << 20) * 9
    expected = _squeezed("zstd", content)
    monkeypatch.setattr(compression.os, "cpu_count", lambda: cores)

    assert _squeezed("zstd", content) == expected


def test_gzip_tells_no_time_and_no_name() -> None:
    assert _squeezed("gzip", b"x")[:4] == b"\x1f\x8b\x08\x00"
    assert _squeezed("gzip", b"x")[4:8] == bytes(4)


@pytest.mark.parametrize(("kind", "program"), [("gzip", "gzip"), ("zstd", "zstd")])
def test_the_programs_of_that_name_read_it(kind: Compression, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")

    done = subprocess.run([program, "-dc"], input=_squeezed(kind, _CONTENT), capture_output=True, check=True)

    assert done.stdout == _CONTENT


def _drain(stream: BinaryIO) -> None:
    while stream.read(1 << 20):
        pass


def _window(log: int) -> bytes:
    """A zstd frame with nothing in it but a wish for a window of 2^log bytes."""
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(log - 10) << 3]) + b"\x01\x00\x00"


def _single(size: int) -> bytes:
    """A zstd frame that says that it is one segment of `size` bytes, all of which have to be in memory."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


def _rle_frame(blocks: int) -> bytes:
    """A zstd frame of zeros, four bytes for each 128 KiB."""
    block = ((128 * 1024) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(17 - 10) << 3]) + block * blocks + b"\x01\x00\x00"


_ZEROS_GZ = gzip.compress(bytes(100 << 20), 9)
_SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"

_BOMBS: dict[str, tuple[bytes, Compression, type[MlkitError]]] = {
    "gzip-bomb": (_ZEROS_GZ, "gzip", LimitError),
    "gzip-members-bomb": (gzip.compress(bytes(10 << 20), 9) * 10, "gzip", LimitError),
    "zstd-bomb": (zstandard.compress(bytes(100 << 20)), "zstd", LimitError),
    "zstd-rle-bomb": (_rle_frame(5_000), "zstd", LimitError),
    "zstd-frames-bomb": (zstandard.compress(bytes(10 << 20)) * 10, "zstd", LimitError),
    "zstd-window-2g": (_window(31), "zstd", LimitError),
    "zstd-window-256m": (_window(28), "zstd", LimitError),
    "zstd-single-1t": (_single(1 << 40), "zstd", LimitError),
    "gzip-garbage": (gzip.compress(b"x") + b"garbage", "gzip", IntegrityError),
    "gzip-zeros": (gzip.compress(b"x") + bytes(10), "gzip", IntegrityError),
    "gzip-one-byte": (gzip.compress(b"x") + b"\x1f", "gzip", IntegrityError),
    "zstd-garbage": (zstandard.compress(b"x") + b"garbage", "zstd", IntegrityError),
    "zstd-zeros": (zstandard.compress(b"x") + bytes(10), "zstd", IntegrityError),
    "zstd-cut-skippable": (zstandard.compress(b"x") + _SKIPPABLE[:-1], "zstd", IntegrityError),
}


@pytest.mark.parametrize(("content", "kind", "error"), _BOMBS.values(), ids=_BOMBS)
def test_a24_a_bomb_is_stopped_and_garbage_after_the_end_refused(
    content: bytes, kind: Compression, error: type[MlkitError]
) -> None:
    tracemalloc.start()
    stream = decompressed(io.BytesIO(content), kind)
    with pytest.raises(error):
        _drain(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 32 << 20


def test_a_nested_bomb_is_only_bytes() -> None:
    inner = gzip.compress(bytes(1 << 20))

    assert _expanded(gzip.compress(inner), "gzip") == inner


def test_what_expands_to_more_than_was_allowed_is_refused() -> None:
    content = _squeezed("gzip", b"x" * 5_000)

    assert len(_expanded(content, "gzip", Limits(max_size=5_000))) == 5_000
    with pytest.raises(LimitError):
        _expanded(content, "gzip", Limits(max_size=4_999))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("none", gzip.compress(archive(file("a", b"1")).getvalue())),
        ("none", zstandard.compress(archive(file("a", b"1")).getvalue())),
        ("none", b"PK\x03\x04" + bytes(1_000)),
        ("none", b"\x80\x04\x95" + b"cos\nsystem\n" * 100),
        ("gzip", archive(file("a", b"1")).getvalue()),
        ("gzip", zstandard.compress(archive(file("a", b"1")).getvalue())),
        ("gzip", b"PK\x03\x04" + bytes(1_000)),
        ("gzip", zlib.compress(archive(file("a", b"1")).getvalue())),
        ("gzip", b""),
        ("zstd", archive(file("a", b"1")).getvalue()),
        ("zstd", gzip.compress(archive(file("a", b"1")).getvalue())),
        ("zstd", b"\x28\xb5\x2f\xfc" + bytes(100)),
        ("zstd", b""),
    ],
    ids=[
        "tar-is-gzip",
        "tar-is-zstd",
        "tar-is-zip",
        "tar-is-pickle",
        "gzip-is-tar",
        "gzip-is-zstd",
        "gzip-is-zip",
        "gzip-is-zlib",
        "gzip-is-nothing",
        "zstd-is-tar",
        "zstd-is-gzip",
        "zstd-is-not-quite",
        "zstd-is-nothing",
    ],
)
def test_a25_bytes_that_are_not_what_the_layer_says_are_refused(kind: Compression, content: bytes) -> None:
    with pytest.raises(IntegrityError):
        list(TarReader(decompressed(io.BytesIO(content), kind)))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_every_cut_is_noticed(kind: Compression) -> None:
    content = _squeezed(kind, b"some bytes that are worth keeping" * 3)

    for end in range(len(content)):
        with pytest.raises(IntegrityError):
            _expanded(content[:end], kind)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_damaged_bit_never_passes_for_the_content(kind: Compression) -> None:
    original = b"some bytes that are worth keeping" * 3
    content = _squeezed(kind, original)

    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        try:
            assert _expanded(bytes(damaged), kind) == original
        except (IntegrityError, LimitError):
            continue


def test_members_and_frames_one_after_another_are_one_content() -> None:
    assert _expanded(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two"), "gzip") == b"one two"
    frames = zstandard.compress(b"one ") + _SKIPPABLE + zstandard.compress(b"") + zstandard.compress(b"two")
    assert _expanded(frames, "zstd") == b"one two"


@pytest.mark.parametrize(
    "parameters",
    [
        {"level": 19},
        {"level": 1, "write_checksum": True},
        {"level": 3, "write_content_size": False},
        {"level": -5},
        {"level": 3, "threads": 2},
    ],
    ids=str,
)
def test_zstd_of_every_setting_is_read(parameters: dict[str, int]) -> None:
    content = zstandard.ZstdCompressor(**parameters).compress(_CONTENT)  # type: ignore[arg-type]

    assert _expanded(content, "zstd") == _CONTENT


def test_zstd_sizes_of_every_width_are_read() -> None:
    for size in (0, 1, 255, 256, 257, 65_535, 65_536, 65_800, 1 << 20):
        content = random.Random(size).randbytes(size)
        assert _expanded(zstandard.compress(content), "zstd") == content


def test_a_zstd_frame_that_needs_a_dictionary_is_refused() -> None:
    samples = [b"key=%d value=%d " % (number, number * 7) * 9 for number in range(2_000)]
    dictionary = zstandard.train_dictionary(2_000, samples)
    content = zstandard.ZstdCompressor(dict_data=dictionary).compress(samples[3])

    with pytest.raises(IntegrityError):
        _expanded(content, "zstd")


def test_a_read_hands_out_what_is_there_and_keeps_the_source_open() -> None:
    source = io.BytesIO(_squeezed("zstd", _CONTENT))
    stream = decompressed(source, "zstd")
    buffer = bytearray(1_000)

    assert stream.readinto(buffer) == 1_000  # type: ignore[attr-defined]
    assert bytes(buffer) == _CONTENT[:1_000]
    stream.close()
    assert not source.closed


def test_a_bomb_is_stopped_long_before_its_end() -> None:
    source = io.BytesIO(_rle_frame(1 << 20))

    with pytest.raises(LimitError):
        decompressed(source, "zstd").read()

    assert source.tell() < 1 << 20
