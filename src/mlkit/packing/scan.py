"""What lies in a directory that a Kitfile's entries ask for, less what is to be left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlkit.archive.ignore import ALWAYS_IGNORED, DEFAULT_IGNORES, MAX_RULES_SIZE, SECRET_PATTERNS, IgnoreRules
from mlkit.archive.walk import SourceFile, walk
from mlkit.errors import LimitError, NotFoundError, StoreError, UsageError
from mlkit.packing.plan import EntryPaths, PackOptions
from mlkit.spec.kitfile import Entry

IGNORE_FILE = ".kitignore"

_NEVER_PACKED = (*ALWAYS_IGNORED, ".mlkit")  # the last is where the kit document goes


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found."""

    files: tuple[SourceFile, ...]
    empty_directories: tuple[str, ...]
    ignored_secrets: tuple[str, ...]
    """Paths that entries cover, left out because they look like credentials."""


def scan(context: Path, entries: Sequence[Entry], options: PackOptions) -> Scan:
    """Walk the parts of `context` that entries cover.

    Raises: NotFoundError for entries whose path is not there or is ignored; what `walk` and `read_rules` raise.
    """
    ignoring = Ignoring(read_rules(context, default_ignore=options.default_ignore))
    paths = EntryPaths(entries)
    files: list[SourceFile] = []
    empty_directories: list[str] = []
    for found in walk(context, follow_links=options.follow_links, skip=ignoring.skip, enters=paths.reaches):
        if isinstance(found, SourceFile):
            files.append(found)
        else:
            empty_directories.append(found.path)
    _check_present(context, entries, {file.path for file in files})
    return Scan(tuple(files), tuple(empty_directories), tuple(sorted(ignoring.secrets)))


class Ignoring:
    """What a walk skips, and which of it because it looks like a credential."""

    def __init__(self, rules: IgnoreRules) -> None:
        self._rules = rules
        self.secrets: set[str] = set()

    def skip(self, path: str, is_dir: bool) -> bool:
        """What `walk` asks."""
        is_ignored = self._rules.ignored(path, is_dir)
        if is_ignored and self._rules.decided_by(path) in SECRET_PATTERNS:
            self.secrets.add(path)
        return is_ignored


def read_rules(context: Path, *, default_ignore: bool) -> IgnoreRules:
    """The rules of `.kitignore`, which can take back the default ones. Raises: UsageError, LimitError, StoreError."""
    defaults = (*DEFAULT_IGNORES, *SECRET_PATTERNS) if default_ignore else ()
    return IgnoreRules.parse(_ignore_text(context / IGNORE_FILE), before=defaults, after=_NEVER_PACKED)


def _ignore_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_RULES_SIZE + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    if len(raw) > MAX_RULES_SIZE:
        raise LimitError(f"{path}: more than {MAX_RULES_SIZE} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from error


def _check_present(context: Path, entries: Sequence[Entry], found: set[str]) -> None:
    missing: list[str] = []
    ignored: list[str] = []
    never: list[str] = []
    for entry in entries:
        path = os.path.join(context, entry.path)
        if entry.path in found or os.path.isdir(path):  # noqa: PTH112  # a directory may be empty
            continue
        if not os.path.lexists(path):
            found_so = missing
        else:
            found_so = never if entry.path.partition("/")[0] in _NEVER_PACKED else ignored
        found_so.append(f"{entry.id} ({entry.path!a})")
    if missing:
        raise NotFoundError(
            f"no such file or directory in {context}: {', '.join(missing)}",
            hint="correct the path in the Kitfile; paths are relative to the directory that is packed",
        )
    if never:
        raise UsageError(
            f"never packed as a file, so it cannot be an entry: {', '.join(never)}",
            hint="take it out of the Kitfile; the Kitfile itself is part of every kit",
        )
    if ignored:
        raise NotFoundError(
            f"left out by ignore rules, so there is nothing to pack for {', '.join(ignored)}",
            hint="take it back with a line such as !path in .kitignore",
        )
