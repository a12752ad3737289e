"""Asking a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable


def secret_asker() -> Callable[[str], str] | None:
    """What asks for a secret without an echo; None where nobody is there to answer."""
    return _ask if sys.stdin.isatty() else None


def _ask(what: str) -> str:
    from getpass import getpass

    return getpass(f"{what}: ")
