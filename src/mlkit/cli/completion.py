"""What the shell offers after TAB: local references and filter classes. Never an error, never a word on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

from mlkit.errors import MlkitError
from mlkit.spec.media_types import Class
from mlkit.spec.release import is_hidden_tag

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
            names = [name for name in session.layout.names() if not is_hidden_tag(name.rpartition(":")[2])]
            return sorted(name for name in names if name.startswith(incomplete))
    except (MlkitError, OSError):
        return []


def complete_filter(incomplete: str) -> list[str]:
    """The classes that fit the last word of a list such as `model,da`; `!` in front stays in front."""
    if ":" in incomplete:
        return []
    head, comma, last = incomplete.rpartition(",")
    mark = "!" if not comma and last.startswith("!") else ""
    return [f"{head}{comma}{mark}{cls}" for cls in FILTER_CLASSES if cls.startswith(last.removeprefix(mark))]


@contextmanager
def whole_words(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Put words together again that bash took apart at their colons, and offer it what comes after the last of them.

    To bash, `digits:1` is three words, of which it completes the third (bash(1), COMP_WORDBREAKS).
    """
    words = environ.get("COMP_WORDS", "").split("\n")
    if not any(_is_colons(word) for word in words):
        yield
        return
    joined: list[str] = []
    current = 0
    for number, word in enumerate(words):
        is_continued = joined and word and (_is_colons(word) or _is_colons(words[number - 1]))
        if is_continued:
            joined[-1] += word
        else:
            joined.append(word)
        if number == int(environ["COMP_CWORD"]):
            current = len(joined) - 1
    environ.update(COMP_WORDS="\n".join(joined), COMP_CWORD=str(current))
    known = len(joined[current].rpartition(":")[0]) + (":" in joined[current])
    offered = StringIO()
    try:
        with redirect_stdout(offered):
            yield
    finally:
        sys.stdout.writelines(line[known:] for line in offered.getvalue().splitlines(keepends=True))


def _is_colons(word: str) -> bool:
    return word != "" and word.strip(":") == ""
