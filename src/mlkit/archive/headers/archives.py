"""Names in ZIP files and tars, without unpacking anything."""

from __future__ import annotations

import struct
from typing import BinaryIO

from mlkit.archive.headers.facts import Cursor
from mlkit.errors import IntegrityError

DIRECTORY_LIMIT = 1024 * 1024
"""Bytes of a ZIP's directory that are read; those of weights list data.pkl among their first members."""
MEMBER_LIMIT = 4096
SAMPLE_MEMBERS = 8
"""Members of a tar that are looked at: two samples of a web dataset, with four files each."""

_END = struct.Struct("<4s4H2IH")
_END_64_PLACE = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_COMMENT_LIMIT = 65535
_BLOCK = 512


def zip_names(stream: BinaryIO, size: int) -> tuple[str, ...]:
    """Names of the first members. Raises: IntegrityError for what has no directory of a ZIP."""
    tail_size = min(size, _COMMENT_LIMIT + _END.size + _END_64_PLACE.size + _END_64.size)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    place = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if place < 0:
        raise IntegrityError("it has no directory of a ZIP")
    _, _, _, _, _, length, offset, _ = _END.unpack_from(tail, place)
    if 0xFFFFFFFF in (length, offset):
        length, offset = _large(tail, place, size)
    if offset + length > size:
        raise IntegrityError(f"its directory lies at {offset} to {offset + length}, and the file has {size} bytes")
    stream.seek(offset)
    raw = stream.read(min(length, DIRECTORY_LIMIT))
    names: list[str] = []
    at = 0
    while at + _ENTRY.size <= len(raw) and len(names) < MEMBER_LIMIT:
        fields = _ENTRY.unpack_from(raw, at)
        name_length, extra, comment = fields[10:13]
        if fields[0] != b"PK\x01\x02":
            raise IntegrityError("its directory holds what is no entry of a ZIP")
        at += _ENTRY.size
        names.append(raw[at : at + name_length].decode("utf-8", "replace"))
        at += name_length + extra + comment
    return tuple(names)


def tar_names(stream: BinaryIO, size: int) -> tuple[str, ...]:
    """Names of the first files; none where it is no tar, or one whose first names need more than a plain header."""
    cursor = Cursor(stream, size, budget=SAMPLE_MEMBERS * _BLOCK)
    names: list[str] = []
    for _ in range(SAMPLE_MEMBERS):
        if cursor.left < _BLOCK:
            break
        block = cursor.take(_BLOCK)
        length = block[124:136].rstrip(b" \0")
        # Octal digits only: what else stands there is of files beyond 8 GiB, which no sample is.
        if block[257:262] != b"ustar" or not length or length.strip(b"01234567"):
            break
        if block[156:157] in (b"0", b"\0"):
            names.append(block[:100].rstrip(b"\0").decode("utf-8", "replace"))
        padded = -(-int(length, 8) // _BLOCK) * _BLOCK
        if padded > cursor.left:
            break
        cursor.skip(padded)
    return tuple(names)


def _large(tail: bytes, place: int, size: int) -> tuple[int, int]:
    """Length and offset of the directory in a ZIP of more than 4 GiB (APPNOTE 4.3.14 and 4.3.15)."""
    at = place - _END_64_PLACE.size
    if at < 0 or tail[at : at + 4] != b"PK\x06\x07":
        raise IntegrityError("its directory is said to be large, and is not there")
    end = at - _END_64.size
    offset = _END_64_PLACE.unpack_from(tail, at)[2]
    if end < 0 or size - len(tail) + end != offset or tail[end : end + 4] != b"PK\x06\x06":
        raise IntegrityError("its directory is said to be large, and is not there")
    fields = _END_64.unpack_from(tail, end)
    return fields[8], fields[9]
