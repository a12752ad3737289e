"""Byte ranges in headers: `Range` of downloads (RFC 9110, section 14), `Content-Range` of chunks (OCI distribution)."""

from __future__ import annotations

import re

# Nineteen digits hold 2**63 - 1, the largest size of the image specification.
_BYTES = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_CHUNK = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range that is asked for, None where the whole is.

    A header that is malformed or asks for several ranges counts as none, which RFC 9110 allows.
    Raises: ValueError where no byte of `size` bytes lies in the range.
    """
    found = _BYTES.fullmatch(header.replace(" ", "")) if header is not None and len(header) <= 100 else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise ValueError(header)
    return start, end


def chunk_range(header: str) -> tuple[int, int]:
    """Start and end (exclusive) of a chunk: `0-1023` is (0, 1024). Raises: ValueError."""
    found = _CHUNK.fullmatch(header)
    if found is None or int(found[2]) < int(found[1]):
        raise ValueError(header)
    return int(found[1]), int(found[2]) + 1
