"""Tars made byte by byte, so that a test can make the ones that no honest program writes."""

from __future__ import annotations

import io
from collections.abc import Callable

from mlkit.errors import MlkitError

BLOCK = 512
END = bytes(2 * BLOCK)

Refused = Callable[..., MlkitError]
"""Extracts a tar that must be refused: the fixture `refused` of tests/archive."""


def header(
    name: str | bytes,
    *,
    size: int | bytes = 0,
    typeflag: bytes = b"0",
    mode: bytes = b"0000644\0",
    linkname: str | bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    mtime: bytes = b"00000000000\0",
    owner: bytes = b"0000000\0",
    checksum: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """One header block; a `size` in bytes is the field as it stands, and so is a `checksum`."""
    size_field = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = [
        _bytes(name)[:100].ljust(100, b"\0"),
        mode,
        owner,
        owner,
        size_field.rjust(12, b"\0"),
        mtime,
        b" " * 8,
        typeflag,
        _bytes(linkname)[:100].ljust(100, b"\0"),
        magic,
        b"root".ljust(32, b"\0"),
        b"root".ljust(32, b"\0"),
        b"0000000\0" * 2,
        prefix.ljust(155, b"\0"),
        tail.rjust(12, b"\0"),
    ]
    block = b"".join(fields)
    assert len(block) == BLOCK
    told = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + told + block[156:]


def padded(content: bytes) -> bytes:
    """Content and the zeros that fill its last block."""
    return content + bytes(-len(content) % BLOCK)


def file(name: str | bytes, content: bytes = b"", **fields: object) -> bytes:
    """A regular file, or what `typeflag` makes of it."""
    fields.setdefault("size", len(content))
    return header(name, **fields) + padded(content)  # type: ignore[arg-type]  # the fields of header, passed on


def directory(name: str | bytes, **fields: object) -> bytes:
    return header(name, typeflag=b"5", mode=b"0000755\0", **fields)  # type: ignore[arg-type]  # as above


def link(name: str, target: str, *, typeflag: bytes = b"2") -> bytes:
    """A symbolic link, or with typeflag 1 a hard one."""
    return header(name, typeflag=typeflag, linkname=target, mode=b"0000777\0")


def record(key: str | bytes, value: str | bytes) -> bytes:
    """A pax record with the right length."""
    rest = b" " + _bytes(key) + b"=" + _bytes(value) + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax(*records: bytes, typeflag: bytes = b"x") -> bytes:
    """An extended header with these records, or a global one with typeflag g."""
    return file(b"././@PaxHeader", b"".join(records), typeflag=typeflag)


def gnu_name(name: bytes) -> bytes:
    """GNU's header for a long name, which is given with its zero byte or without."""
    return file(b"././@LongLink", name, typeflag=b"L", magic=b"ustar  \0")


def archive(*parts: bytes, end: bytes = END) -> io.BytesIO:
    """A whole tar as a stream."""
    return io.BytesIO(b"".join(parts) + end)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
