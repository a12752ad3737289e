"""Compressed streams: what comes out of them is looked at like any other content."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from mlkit.errors import IntegrityError
from mlkit.trust.scan.source import CHUNK, Budget, Expanded, Source

_MEMORY: Final = 256 * 1024 * 1024  # bytes that an xz stream may ask for
_ZSTD_WINDOW: Final = 128 * 1024 * 1024


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def sniff_packed(head: bytes) -> str | None:
    """The compression that the first bytes tell, None for none."""
    for magic, kind in _MAGICS.items():
        if head.startswith(magic):
            return kind
    is_zlib = len(head) >= 2 and head[0] & 0x8F == 0x08 and int.from_bytes(head[:2], "big") % 31 == 0
    return "zlib" if is_zlib else None


def expanded(source: Source, kind: str, budget: Budget) -> Expanded | None:
    """What the stream holds; None for a compression that cannot be read. Reads raise IntegrityError, LimitError."""
    maker = _MAKERS.get(kind)
    return None if maker is None else Expanded(lambda: _chunks(source, maker), budget)


def _chunks(source: Source, make: Callable[[], _Inflater]) -> Iterator[bytes]:
    position, pending = 0, b""
    inflater = make()
    is_fresh = True
    try:
        while True:
            if not pending:
                pending = source.read_at(position, CHUNK)
                position += len(pending)
                if not pending:
                    if not is_fresh:
                        raise IntegrityError("the compressed data ends before its own end")
                    return
            chunk = inflater.decompress(pending, CHUNK)
            is_fresh = False
            pending = b""
            if isinstance(inflater, _Zlib):
                pending = inflater.rest
            while not chunk and not inflater.eof and _needs_no_input(inflater):
                chunk = inflater.decompress(b"", CHUNK)
            if chunk:
                yield chunk
                while _needs_no_input(inflater) and not inflater.eof:
                    more = inflater.decompress(b"", CHUNK)
                    if not more:
                        break
                    yield more
            if inflater.eof:
                # One stream after another, as programs that compress in parallel write them.
                pending = inflater.unused_data
                inflater = make()
                is_fresh = True
                if not pending.strip(b"\0"):
                    pending = b""
                if not pending and not source.read_at(position, CHUNK).strip(b"\0"):
                    return
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"the compressed data is damaged: {str(error)[:100]}") from error


def _needs_no_input(inflater: _Inflater) -> bool:
    return getattr(inflater, "needs_input", True) is False


class _Zlib:
    """zlib's decompressor with the names that those of bz2 and lzma have."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def rest(self) -> bytes:
        """Input that was not used since the output had its length."""
        return self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(data, max_length)


class _Zstd:
    """zstandard's decompressor, which gives all at once: a block comes to 128 KiB."""

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._inner = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def rest(self) -> bytes:
        return b""

    def decompress(self, data: bytes, _length: int, /) -> bytes:
        try:
            return self._inner.decompress(data)
        except self._error as error:
            raise ValueError(str(error)) from error


_MAGICS: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_MAKERS: Final[dict[str, Callable[[], _Inflater]]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "zlib": lambda: _Zlib(zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(-zlib.MAX_WBITS),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY),
    "zstd": _Zstd,
}
