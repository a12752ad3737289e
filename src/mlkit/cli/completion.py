"""What the shell offers after TAB: local references and filter classes. Never an error, never a word on stderr."""

from __future__ import annotations

import os
from pathlib import Path

from mlkit.errors import MlkitError
from mlkit.spec.media_types import Class

FILTER_CLASSES = (*(str(cls) for cls in Class), "kitfile")


def complete_reference(incomplete: str) -> list[str]:
    """The names in the local store that begin like this."""
    # Imported here, as a command that is run and not completed has no use for it.
    from mlkit.api.session import Session
    from mlkit.api.settings import load_settings

    try:
        settings = load_settings(os.environ, Path.cwd())
        if not (settings.home / "index.json").is_file():
            return []
        with Session(settings) as session:
            return sorted(name for name in session.layout.names() if name.startswith(incomplete))
    except (MlkitError, OSError):
        return []


def complete_filter(incomplete: str) -> list[str]:
    """The classes that fit the last word of a list such as `model,da`; `!` in front stays in front."""
    if ":" in incomplete:
        return []
    head, comma, last = incomplete.rpartition(",")
    mark = "!" if not comma and last.startswith("!") else ""
    return [f"{head}{comma}{mark}{cls}" for cls in FILTER_CLASSES if cls.startswith(last.removeprefix(mark))]
