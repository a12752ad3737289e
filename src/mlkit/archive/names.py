"""Names of files in kits: relative, portable, and no two of them the same on any file system.

Kits travel, so a name is judged by the strictest file system it may reach, not by the one at hand. Nothing here does
I/O.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.errors import LimitError, UnsafeError

# Characters that are always right and the vast majority of names; everything else takes the slow road.
_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_.+=@-]*[A-Za-z0-9_+=@-])?", re.ASCII)
_DEVICES = [f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"]
_RESERVED = frozenset(["con", "prn", "aux", "nul", "conin$", "conout$", *_DEVICES])
# Joiners are part of correct Persian, Hindi and emoji; file systems (HFS+) and eyes pass over them.
_JOINERS = "\u200c\u200d"
_WITHOUT_JOINERS = str.maketrans("", "", _JOINERS)
_SHOWN = 200


def check_name(name: str, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Give back a safe, relative, clean POSIX path.

    Raises: UnsafeError for a name that is absolute, climbs, is not clean (`a//b`, `./a`, `a/`), cannot exist on
    Windows, hides control or direction characters, is not Unicode, or would plant a Git repository; LimitError for one
    that is too long or too deep.
    """
    if len(name) > limits.path_bytes:
        raise LimitError(f"{shown(name)}: a name of {len(name)} characters is longer than {limits.path_bytes} bytes")
    if not name:
        raise UnsafeError("an empty name (expected a relative path)")
    if name.startswith("/"):
        raise UnsafeError(f"{shown(name)}: an absolute path (expected a relative one)")
    components = name.split("/")
    if len(components) > limits.depth:
        raise LimitError(f"{shown(name)}: {len(components)} levels deep (at most {limits.depth})")
    if components[0] == "~":
        raise UnsafeError(f"{shown(name)}: a path that starts in a home directory (expected a relative one)")
    for component in components:
        problem = _problem(component)
        if problem is not None:
            raise UnsafeError(f"{shown(name)}: {problem}")
    if not name.isascii() or len(name) > limits.component_bytes:
        _check_bytes(name, components, limits)
    return name


def collision_key(path: str) -> str:
    """What two paths have in common when some file system takes one for the other.

    Caseless matching of Unicode (section 3.13, D145) in composed form: `A` and `a`, both forms of `é`, `ß` and `SS`
    meet.
    """
    if path.isascii():
        return path.lower()
    folded = unicodedata.normalize("NFD", path.translate(_WITHOUT_JOINERS)).casefold()
    return unicodedata.normalize("NFC", folded)


class NameSet:
    """The names of one tree, each taken once: by a file, or by a directory that others may share."""

    def __init__(self) -> None:
        self._spellings: dict[str, str] = {}
        self._directories: set[str] = set()

    def add_file(self, path: str) -> None:
        """Take a checked name for a file. Raises: UnsafeError where it is taken, or spelled almost like one that is."""
        parent = path.rpartition("/")[0]
        if parent:
            self.add_directory(parent)
        self._take(path)

    def add_directory(self, path: str) -> None:
        """Take a checked name for a directory, and those above it; again is fine. Raises: UnsafeError, as above."""
        if path in self._directories:
            return
        parent = path.rpartition("/")[0]
        if parent:
            self.add_directory(parent)
        self._take(path)
        self._directories.add(path)

    def free_file(self, path: str) -> None:
        """Give a file's name back."""
        del self._spellings[collision_key(path)]

    def __len__(self) -> int:
        return len(self._spellings)

    def _take(self, path: str) -> None:
        key = collision_key(path)
        other = self._spellings.get(key)
        if other is None:
            self._spellings[key] = path
            return
        if other != path:
            raise UnsafeError(
                f"{shown(path)} and {shown(other)} are one file where case or Unicode form does not count",
                hint="Rename one of them.",
            )
        raise UnsafeError(f"{shown(path)}: the name comes twice")


def shown(name: str) -> str:
    """A hostile name for people's eyes: quoted, everything but ASCII escaped, at most 200 characters."""
    text = ascii(name)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + "..." + text[0]


@lru_cache(maxsize=4096)
def _problem(component: str) -> str | None:
    """Why a component may not be part of a name, None where it may."""
    if _PLAIN.fullmatch(component) is None:
        problem = next(_oddities(component), None)
        if problem is not None:
            return problem
    if component.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        return f"{shown(component)} is a device on Windows"
    return None


def _oddities(component: str) -> Iterator[str]:
    if not component:
        yield "an empty component (expected a clean path)"
    if component in (".", ".."):
        yield f'a "{component}" component (expected a clean path that does not climb)'
    if "\\" in component:
        yield "a backslash (expected / between components)"
    if ":" in component:
        yield "a colon, which names a drive or a stream on Windows"
    if component.endswith((".", " ")):
        yield "a component that ends in a dot or a space, which Windows drops"
    if any(_is_invisible(character) for character in component):
        yield "a control, direction or undecodable character"
    if collision_key(component) in (".git", "git~1"):
        yield "part of a Git repository, whose hooks would run"


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS


def _check_bytes(name: str, components: list[str], limits: Limits) -> None:
    if len(name.encode()) > limits.path_bytes:
        raise LimitError(f"{shown(name)}: longer than {limits.path_bytes} bytes in UTF-8")
    for component in components:
        if len(component.encode()) > limits.component_bytes:
            raise LimitError(f"{shown(component)}: a component longer than {limits.component_bytes} bytes in UTF-8")
