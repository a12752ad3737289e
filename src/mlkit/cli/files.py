"""The few files and streams that the command line itself reads and writes: Kitfiles, passwords, bytes in a pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from mlkit.errors import ConflictError, LimitError, NotFoundError, StoreError, UsageError


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


def read_bytes(path: Path, what: str, *, limit: int) -> bytes:
    """All of a file, or of stdin for `-`. Raises: NotFoundError, UsageError, LimitError for more than `limit` bytes."""
    if path == Path("-"):
        raw = stdin_for_bytes().read(limit + 1)
    else:
        try:
            with path.open("rb") as stream:
                raw = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path}: no such file") from error
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise LimitError(f"{what}: more than {limit} bytes")
    return raw


def stdout_for_bytes() -> BinaryIO:
    """Stdout, where it leads anywhere but to a person. Raises: UsageError for a terminal."""
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, and this is no text", hint="send it to a file or a pipe")
    return sys.stdout.buffer


def stdin_for_bytes() -> BinaryIO:
    """Stdin, where it comes from anywhere but a person. Raises: UsageError for a terminal."""
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal", hint="name a file, or send one through a pipe")
    return sys.stdin.buffer
