"""A policy on disk: read only where nobody else could have written it.

Whoever can change the policy decides what is trusted, so what everybody may write, and what is a link to who knows
where, is refused; key files that it names, likewise.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from mlkit.errors import NotFoundError, StoreError, UnsafeError, UsageError
from mlkit.spec.yaml_text import TEXT_LIMIT
from mlkit.trust.keys import KEY_LIMIT
from mlkit.trust.policy import Policy
from mlkit.trust.policy_text import parse_policy


def load_policy(path: Path) -> Policy:
    """The policy in a file, with the keys that it names.

    Raises: NotFoundError; UnsafeError for a link, or a file or folder that everybody may write to; UsageError for what
    is no policy, with every problem and its line.
    """
    raw = _read(path, limit=TEXT_LIMIT, what="policy")
    return parse_policy(
        raw, what=str(path), read_key=lambda text: _read(path.parent / text, limit=KEY_LIMIT, what="key")
    )


def _read(path: Path, *, limit: int, what: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such {what}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeError(f"{path}: the {what} is a symbolic link", hint="name the file itself") from error
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path}: the {what} is not a file")
        if found.st_mode & stat.S_IWOTH:
            raise UnsafeError(f"{path}: everybody may write to this {what}", hint=f"chmod o-w {path}")
        folder = path.parent.stat()
        # In a folder with the sticky bit, such as /tmp, only the owner can put another file in its place.
        if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
            raise UnsafeError(
                f"{path.parent}: everybody may replace the {what} in this folder", hint=f"chmod o-w {path.parent}"
            )
        raw = b""
        while len(raw) <= limit and (chunk := os.read(file, limit + 1 - len(raw))):
            raw += chunk
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(file)
    if len(raw) > limit:
        raise UsageError(f"{path}: more than {limit} bytes, which no {what} has")
    return raw
