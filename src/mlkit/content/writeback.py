"""Telling the disk to begin, so that the fsync at the end finds little left to do (speed.md, "Pack")."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2): start write-out of dirty pages, do not wait


def start_writeback(file: int, offset: int, count: int) -> None:
    """Start writing `count` bytes from `offset` to the disk; does nothing where the kernel has no such call."""
    call = _sync_file_range()
    if call is not None:
        call(file, offset, count, _SYNC_FILE_RANGE_WRITE)


@cache
def _sync_file_range() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # here, since only blobs of many megabytes need it, and every command would pay for it (D15)

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
