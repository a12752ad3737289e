"""Writing a pair of keys: each file whole or not at all, never over another, the private one for its owner."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mlkit.errors import ConflictError, StoreError

_HINT = "-o names another place; a key that is lost cannot be made again"


def write_pair(stem: Path, private: str, public: str, *, random: Callable[[int], bytes] = os.urandom) -> None:
    """Write `STEM.key`, mode 0600, and `STEM.pub`. Raises: ConflictError where either exists; StoreError."""
    key, pub = Path(f"{stem}.key"), Path(f"{stem}.pub")
    for path in (key, pub):
        if path.is_symlink() or path.exists():
            raise ConflictError(f"{path}: exists", hint=_HINT)
    _write(key, private, 0o600, random)
    try:
        _write(pub, public, 0o644, random)
    except BaseException:
        # Half a pair would stand in the way of the next try.
        key.unlink(missing_ok=True)
        raise


def _write(path: Path, text: str, mode: int, random: Callable[[int], bytes]) -> None:
    staged = path.with_name(f".{path.name}.mlkit-{random(4).hex()}")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123  # a descriptor, not a path
                stream.write(text)
                stream.flush()
                os.fsync(descriptor)
            _name(staged, path)
        finally:
            staged.unlink(missing_ok=True)
    except FileExistsError as error:
        raise ConflictError(f"{path}: exists", hint=_HINT) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def _name(staged: Path, path: Path) -> None:
    """Unlike a rename, a link replaces nothing, even where somebody writes there at the same moment."""
    try:
        os.link(staged, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: between the look and the rename is next to no time, and nothing better.
        if path.is_symlink() or path.exists():
            raise FileExistsError(path) from None
        staged.rename(path)
