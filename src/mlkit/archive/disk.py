"""The disk of a destination: its free space, and its errors in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.archive.limits import Limits
from mlkit.archive.names import shown
from mlkit.errors import StoreError


def require_space(descriptor: int, path: str, size: int, limits: Limits) -> None:
    """Before a file of `size` bytes is written to an open one. Raises: StoreError."""
    system = os.fstatvfs(descriptor)
    free = system.f_bavail * system.f_frsize
    usable = free - free * limits.disk_reserve_percent // 100
    if size > usable:
        raise StoreError(
            f"{shown(path)}: no space left for its {size} bytes "
            f"(free: {free}, of which {limits.disk_reserve_percent} % stay so)"
        )


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Turn an OSError into a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path) from error


def store_error(error: OSError, path: Path | str) -> StoreError:
    """The StoreError that tells of `error` at `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{shown(str(path))}: no space left", hint="Free some, or choose another disk.")
    if error.errno == errno.EFBIG:
        return StoreError(f"{shown(str(path))}: the file would be larger than this system allows")
    return StoreError(f"{shown(str(path))}: cannot be written ({error.strerror or error})")
