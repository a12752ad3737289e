"""Compression of layers: deterministic on the way in, bounded on the way out.

Nothing here guesses what the bytes are: a layer that says gzip is gzip.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, assert_never

import zstandard

from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.kit_document import Compression

_GZIP_LEVEL = 6
# Level 1: on weights and tables the higher levels cost times more and save next to nothing.
_ZSTD_LEVEL = 1
_ZSTD_THREADS = 4

_INPUT = 64 * 1024
_OUTPUT = 1 << 20
_GZIP_CONTAINER = 16 + zlib.MAX_WBITS

# RFC 8878, sections 3.1.1 and 3.1.2.
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_ZSTD_MAX_BLOCK = 128 * 1024
_RLE_BLOCK = 1
_RESERVED_BLOCK = 3


class Sink(Protocol):
    """Where bytes go."""

    def write(self, chunk: bytes | bytearray | memoryview, /) -> object: ...


class Compressor(Protocol):
    """A sink that has an end."""

    def write(self, chunk: bytes | bytearray | memoryview, /) -> object: ...

    def finish(self) -> None:
        """Write what is still held back; the sink stays open."""


def compressor(kind: Compression, sink: Sink) -> Compressor:
    """Write to `sink` what is written to it, compressed; the same bytes for the same bytes.

    The output also depends on the version of the library (zlib, zstd), not on time, threads or how the writes are cut.
    """
    if kind == "none":
        return _Plain(sink)
    if kind == "gzip":
        return _Gzip(sink)
    if kind == "zstd":
        return _Zstd(sink)
    assert_never(kind)


def decompressed(stream: BinaryIO, kind: Compression, *, limits: Limits = DEFAULT_LIMITS) -> BinaryIO:
    """What `stream` holds, expanded while it is read; `stream` itself for "none". The caller closes `stream`.

    Reads raise: IntegrityError for bytes that are no `kind`, end early or go on after the end; LimitError for more than
    `limits.max_size`, for a ratio above `limits.ratio`, and for a zstd window above `limits.window`.
    """
    if kind == "none":
        return stream
    source = _Source(stream, kind)
    chunks = _gunzip(source) if kind == "gzip" else _unzstd(source, limits)
    return io.BufferedReader(_Expanded(source, chunks, limits), _OUTPUT)


class _Plain:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, chunk: bytes | bytearray | memoryview, /) -> None:
        self._sink.write(chunk)

    def finish(self) -> None:
        pass


class _Gzip:
    """zlib writes a gzip header without a name and with a time of zero."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)

    def write(self, chunk: bytes | bytearray | memoryview, /) -> None:
        _write(self._sink, self._compressor.compress(chunk))

    def finish(self) -> None:
        _write(self._sink, self._compressor.flush())


class _Zstd:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # With threads zstd cuts the input into jobs of a fixed size, so any number of them gives the same bytes; no
        # threads at all (0) would give others.
        threads = min(_ZSTD_THREADS, os.cpu_count() or 1)
        self._compressor = zstandard.ZstdCompressor(
            level=_ZSTD_LEVEL, threads=threads, write_checksum=True
        ).compressobj()

    def write(self, chunk: bytes | bytearray | memoryview, /) -> None:
        _write(self._sink, self._compressor.compress(chunk))

    def finish(self) -> None:
        _write(self._sink, self._compressor.flush())


def _write(sink: Sink, chunk: bytes) -> None:
    if chunk:
        sink.write(chunk)


class _Source:
    """The compressed bytes, counted."""

    def __init__(self, stream: BinaryIO, kind: Compression) -> None:
        self._stream = stream
        self._held = b""
        self.kind = kind
        self.count = 0

    def some(self) -> bytes:
        """At least one byte, none at the end."""
        held, self._held = self._held, b""
        if held:
            return held
        chunk = self._stream.read(_INPUT)
        self.count += len(chunk)
        return chunk

    def exact(self, count: int) -> bytes:
        """Raises: IntegrityError where the stream ends before."""
        chunk = self.some()
        while len(chunk) < count:
            more = self.some()
            if not more:
                raise self.truncated()
            chunk += more
        self._held = chunk[count:]
        return chunk[:count]

    def give_back(self, chunk: bytes) -> None:
        self._held = chunk + self._held

    def truncated(self) -> IntegrityError:
        return IntegrityError(f"{self.kind} data ends after {self.count} bytes, before its own end")


class _Expanded(io.RawIOBase):
    """Hands out chunks, and stops a bomb."""

    def __init__(self, source: _Source, chunks: Iterator[bytes], limits: Limits) -> None:
        self._source = source
        self._chunks = chunks
        self._limits = limits
        self._rest = memoryview(b"")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # RawIOBase is typed wider than it is used
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._count += len(chunk)
            self._check()
            self._rest = memoryview(chunk)
        count = min(len(self._rest), len(buffer))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _check(self) -> None:
        limits = self._limits
        if limits.max_size is not None and self._count > limits.max_size:
            raise LimitError(f"{self._source.kind} data expands to more than {limits.max_size} bytes")
        if self._count > limits.ratio_after and self._count > limits.ratio * self._source.count:
            raise LimitError(
                f"{self._source.kind} data expands to more than {limits.ratio} times its size "
                f"({self._source.count} bytes to {self._count} and more)"
            )


def _gunzip(source: _Source) -> Iterator[bytes]:
    """RFC 1952: one member after another, which is how estargz and pigz write."""
    pending = source.some()
    if not pending:
        raise source.truncated()
    while pending:
        expander = zlib.decompressobj(_GZIP_CONTAINER)
        while not expander.eof:
            pending = pending or source.some()
            if not pending:
                raise source.truncated()
            try:
                chunk = expander.decompress(pending, _OUTPUT)
            except zlib.error as error:
                raise IntegrityError(f"not gzip data, or damaged: {error}") from error
            pending = expander.unconsumed_tail
            if chunk:
                yield chunk
        pending = expander.unused_data or source.some()


def _unzstd(source: _Source, limits: Limits) -> Iterator[bytes]:
    """RFC 8878: frames one after another, fed to the library one block at a time.

    A block expands to 128 KiB at most, so the memory for a bomb is bounded whatever the library buffers; and where a
    frame ends is known, so a stream that is cut or goes on is not taken for a whole one.
    """
    chunk = source.some()
    if not chunk:
        raise source.truncated()
    while chunk:
        source.give_back(chunk)
        magic = source.exact(4)
        number = int.from_bytes(magic, "little")
        if number in _ZSTD_SKIPPABLE:
            _skip(source, int.from_bytes(source.exact(4), "little"))
        elif number == _ZSTD_MAGIC:
            yield from _frame(source, magic, limits)
        else:
            raise IntegrityError(f"not zstd data: {magic.hex()} where a frame begins (expected 28b52ffd)")
        chunk = source.some()


def _frame(source: _Source, magic: bytes, limits: Limits) -> Iterator[bytes]:
    header, window, has_checksum = _frame_header(source)
    if window > limits.window:
        raise LimitError(f"zstd data asks for a window of {window} bytes (at most {limits.window})")
    expander = zstandard.ZstdDecompressor(max_window_size=limits.window).decompressobj()
    expand = _expanding(expander.decompress)
    expand(magic + header)
    is_last = False
    while not is_last:
        block = source.exact(3)
        number = int.from_bytes(block, "little")
        is_last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
        if kind == _RESERVED_BLOCK or size > _ZSTD_MAX_BLOCK:
            raise IntegrityError(f"zstd data is damaged: no block has the header {block.hex()}")
        yield expand(block + source.exact(1 if kind == _RLE_BLOCK else size))
    if has_checksum:
        yield expand(source.exact(4))
    if not expander.eof:
        raise IntegrityError("zstd data is damaged: a frame goes on after its last block")


def _frame_header(source: _Source) -> tuple[bytes, int, bool]:
    """The header after the magic number, the window it asks for in bytes, and whether a checksum ends the frame."""
    descriptor = source.exact(1)
    flags = descriptor[0]
    is_single = bool(flags & 0x20)
    window_field = b"" if is_single else source.exact(1)
    dictionary = source.exact((0, 1, 2, 4)[flags & 3])
    size_length = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
    size_field = source.exact(size_length)
    if is_single:
        # A size of two bytes counts from 256 on.
        window = int.from_bytes(size_field, "little") + (256 if size_length == 2 else 0)
    else:
        base = 1 << (10 + (window_field[0] >> 3))
        window = base + base // 8 * (window_field[0] & 7)
    return descriptor + window_field + dictionary + size_field, window, bool(flags & 4)


def _skip(source: _Source, count: int) -> None:
    while count:
        chunk = source.some()
        if not chunk:
            raise source.truncated()
        source.give_back(chunk[count:])
        count -= min(count, len(chunk))


def _expanding(decompress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def expand(chunk: bytes) -> bytes:
        try:
            return decompress(chunk)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"zstd data is damaged: {error}") from error

    return expand
