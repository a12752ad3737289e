"""The few files that the command line itself reads and writes: Kitfiles and passwords, from a path or from stdin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlkit.errors import ConflictError, LimitError, StoreError, UsageError


def write_text(path: Path, text: str, *, replace: bool) -> None:
    """Write a file whole or not at all. Raises: ConflictError where it exists and `replace` is False, StoreError."""
    written = path.with_name(f".{path.name}.mlkit-{os.urandom(4).hex()}") if replace else path
    try:
        # 0666 and the umask: this is a file of the user's, in the user's tree.
        stream = written.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise ConflictError(f"{path}: exists", hint="--force replaces it, -o writes elsewhere") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(path)
    except OSError as error:
        written.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def read_stdin(what: str, *, limit: int) -> str:
    """All of stdin as text. Raises: UsageError where it is not UTF-8, LimitError for more than `limit` bytes."""
    raw = sys.stdin.buffer.read(limit + 1)
    if len(raw) > limit:
        raise LimitError(f"{what} on stdin: more than {limit} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} on stdin: not UTF-8 at byte {error.start}") from error
