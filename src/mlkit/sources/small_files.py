"""Small files that other tools leave beside data, read with a limit. What cannot be read says nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from mlkit.errors import LimitError
from mlkit.spec.yaml_text import read_yaml


def read_small(path: Path, *, limit: int) -> bytes | None:
    """The bytes of a regular file; None where there is none, it cannot be read, or it is larger than `limit` bytes."""
    try:
        # O_NONBLOCK: a pipe in the place of the file must not hang us.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        with os.fdopen(file, "rb", closefd=False) as stream:
            raw = stream.read(limit + 1)
    except OSError:
        return None
    finally:
        os.close(file)
    return raw if len(raw) <= limit else None


def read_mapping(path: Path, *, limit: int) -> dict[str, Any]:
    """What a small YAML file says, numbers as `Scalar`; empty where it is no mapping or no YAML that can be trusted."""
    raw = read_small(path, limit=limit)
    if raw is None:
        return {}
    try:
        document = read_yaml(raw, what=path.name)
    except LimitError:
        return {}
    return document.value if not document.problems and isinstance(document.value, dict) else {}
