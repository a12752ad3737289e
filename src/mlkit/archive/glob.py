"""Wildcards within one name, such as a component of a path, in two languages. Nothing here does I/O.

`matcher` knows `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash before any of them: ignore files and `mlkit list`. They
become regular expressions that never go back. `matches_stars` knows `*` alone, because KitOps' filters take `?` and `[`
as they are. Both are linear whatever the pattern. What `**` means is for those who split names into components: in a
scope of a policy (`trust.scopes`) it stands at the end for one or more, elsewhere for none or more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_MAX_ALTERNATIVES = 200
_WILD = re.compile(r"[*?\[\\]")


def is_literal(component: str) -> bool:
    """Whether a pattern matches only itself."""
    return _WILD.search(component) is None


@lru_cache(maxsize=4096)
def matcher(component: str) -> Callable[[str], bool]:
    """A test of one path component. Raises: ValueError for a pattern that cannot be read."""
    if is_literal(component):
        return component.__eq__
    if component.startswith("*") and _WILD.search(component, 1) is None:
        suffix = component[1:]
        return lambda name: name.endswith(suffix)
    matches = re.compile(_regex(component), re.DOTALL).fullmatch
    return lambda name: matches(name) is not None


@lru_cache(maxsize=256)
def any_of(components: tuple[str, ...]) -> Callable[[str], object]:
    """A test that is false for names which no pattern matches; where there are many patterns it may always be true."""
    if not components:
        return _none
    # A long alternation costs more to build than it ever saves.
    if len(components) > _MAX_ALTERNATIVES:
        return _all
    return re.compile("|".join(f"(?:{_regex(component)})" for component in components), re.DOTALL).fullmatch


def matches_stars(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which `*` stands for any characters; every piece is looked for once."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    if not text.startswith(first):
        return False
    position = len(first)
    for piece in middle:
        position = text.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return len(text) - position >= len(last) and text.endswith(last)


def _all(_name: str) -> bool:
    return True


def _none(_name: str) -> bool:
    return False


def _regex(component: str) -> str:
    """The component as a regular expression that never goes back.

    Between two stars the leftmost match is as good as any other, so each part is put into an atomic group with the star
    before it; only the part after the last star is tied to the end, and it has a fixed length.
    """
    parts: list[list[str]] = [[]]
    position = 0
    while position < len(component):
        character = component[position]
        position += 1
        if character == "*":
            parts.append([])
        elif character == "?":
            parts[-1].append(".")
        elif character == "[":
            group, position = _class(component, position)
            parts[-1].append(group)
        elif character == "\\":
            if position == len(component):
                raise ValueError("a backslash at the end (expected a character after it)")
            parts[-1].append(re.escape(component[position]))
            position += 1
        else:
            parts[-1].append(re.escape(character))
    if len(parts) == 1:
        return "".join(parts[0])
    first, *middle, last = parts
    tail = f".{{{len(last)},}}+(?<={''.join(last)})" if last else ".*"
    return "".join(first) + "".join(f"(?>.*?{''.join(part)})" for part in middle if part) + tail


def _class(component: str, position: int) -> tuple[str, int]:
    """The character class that begins after a bracket, and where it ends."""
    negated = component[position : position + 1] in ("^", "!")
    position += negated
    members: list[str] = []
    while True:
        if position >= len(component):
            raise ValueError("a [ without its ] (expected a character class)")
        if component[position] == "]" and members:
            return f"[{'^' if negated else ''}{''.join(members)}]", position + 1
        low, position = _class_member(component, position)
        if component[position : position + 1] == "-" and component[position + 1 : position + 2] not in ("]", ""):
            high, position = _class_member(component, position + 1)
            if low > high:
                raise ValueError(f"a range from {low!r} down to {high!r} (expected one that goes up)")
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))


def _class_member(component: str, position: int) -> tuple[str, int]:
    if component[position] == "\\":
        position += 1
        if position == len(component):
            raise ValueError("a [ without its ] (expected a character class)")
    return component[position], position + 1
