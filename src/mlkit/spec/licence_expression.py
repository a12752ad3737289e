"""SPDX licence expressions (SPDX specification 2.3, annex D): which of them a list of licences allows.

Nothing here knows the list of licences: an identifier is text, compared without regard to case as the annex says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9][A-Za-z0-9.:+-]*)", re.ASCII)
_TEXT_LIMIT = 1000  # characters; the longest in use name a dozen licences
_DEPTH_LIMIT = 16


def is_allowed(expression: str, allowed: Iterable[str]) -> bool:
    """Whether the licences in `allowed` suffice for what `expression` asks: all of AND, one of OR.

    A licence WITH an exception is one of its own and must be allowed as such. Text that is no expression is taken for
    the name of a licence.
    """
    names = {" ".join(name.lower().split()) for name in allowed}
    if " ".join(expression.lower().split()) in names:
        return True
    try:
        return _Reader(expression, names).whole()
    except ValueError:
        return False


def licences_in(expression: str) -> tuple[str, ...]:
    """The licences that an expression names, each with its exception; the text itself where it is no expression."""
    try:
        reader = _Reader(expression, frozenset())
        reader.whole()
    except ValueError:
        return (expression,)
    return tuple(dict.fromkeys(reader.seen))


class _Reader:
    """Recursive descent; OR binds least, WITH most."""

    def __init__(self, expression: str, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._tokens = list(_tokens(expression))
        self._depth = 0
        self.seen: list[str] = []

    def whole(self) -> bool:
        found = self._either()
        if self._tokens:
            raise ValueError(self._tokens[0])
        return found

    def _either(self) -> bool:
        found = self._both()
        while self._take("or"):
            found = self._both() or found
        return found

    def _both(self) -> bool:
        found = self._one()
        while self._take("and"):
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if self._take("("):
            self._depth += 1
            if self._depth > _DEPTH_LIMIT:
                raise ValueError("nested too deeply")
            found = self._either()
            if not self._take(")"):
                raise ValueError("a bracket that is not closed")
            self._depth -= 1
            return found
        name = self._name()
        if self._take("with"):
            name = f"{name} WITH {self._name()}"
        self.seen.append(name)
        return name.lower() in self._allowed

    def _take(self, word: str) -> bool:
        if self._tokens and self._tokens[0].lower() == word:
            del self._tokens[0]
            return True
        return False

    def _name(self) -> str:
        if not self._tokens or self._tokens[0].lower() in ("(", ")", "and", "or", "with"):
            raise ValueError("no licence where one is due")
        return self._tokens.pop(0)


def _tokens(expression: str) -> Iterator[str]:
    if len(expression) > _TEXT_LIMIT:
        raise ValueError("too long")
    text, position = expression.strip(), 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError(text[position])
        yield found[1]
        position = found.end()
