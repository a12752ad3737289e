"""WWW-Authenticate (RFC 9110, section 11), by a scanner that looks at each character once. Nothing here does I/O."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlkit.errors import AuthError

_LIMIT = 8 * 1024  # characters of all challenges together
_TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_SPACE = frozenset(" \t")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges in the values of the header, without those that are ambiguous or malformed.

    Raises: AuthError where they are longer than 8 KiB.
    """
    text = ", ".join(values)
    if len(text) > _LIMIT:
        raise AuthError(f"the registry's challenge has {len(text)} characters (at most {_LIMIT})")
    found: list[Challenge] = []
    broken: set[int] = set()
    position = 0
    while (position := _after(text, position, _SPACE | {","})) < len(text):
        end = _after(text, position, _TOKEN)
        word = text[position:end].lower()
        equals = _after(text, end, _SPACE)
        if not word:
            broken.add(len(found) - 1)
            position = _next_comma(text, position)
        elif text[equals : equals + 1] != "=":
            found.append(Challenge(word))
            position = end
        else:
            value, position = _value(text, _after(text, equals + 1, _SPACE))
            if value is None or not found or word in found[-1].parameters:
                broken.add(len(found) - 1)
            else:
                found[-1].parameters[word] = value
    return tuple(challenge for number, challenge in enumerate(found) if number not in broken)


def _value(text: str, position: int) -> tuple[str | None, int]:
    """A token or a quoted string, and where it ends; None for neither, as in the padding of a token68."""
    if text[position : position + 1] != '"':
        end = _after(text, position, _TOKEN)
        # Many registries leave the quotes away, also round values that are no tokens.
        end = _until(text, end, _SPACE | {",", '"'})
        value = text[position:end]
        return (value if value.strip("=") else None), end
    characters: list[str] = []
    position += 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(characters), position + 1
        if character == "\\":
            position += 1
            character = text[position : position + 1]
        characters.append(character)
        position += 1
    return None, position


def _after(text: str, position: int, characters: frozenset[str]) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _until(text: str, position: int, characters: frozenset[str]) -> int:
    while position < len(text) and text[position] not in characters:
        position += 1
    return position


def _next_comma(text: str, position: int) -> int:
    found = text.find(",", position)
    return len(text) if found < 0 else found
