"""Scopes of a policy: which repositories a rule is for, and which of several rules is the nearest. Pure.

A scope is a repository as references name it, `registry.example/team/digits`, in which `*` stands for anything within a
component and a whole component `**` for any number of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlkit.archive.glob import matches_stars

_COMPONENT = re.compile(r"(?:\*\*|[a-z0-9*._-]+(?::[0-9*]{1,5})?|\[[0-9a-f:]+\](?::[0-9*]{1,5})?)", re.ASCII)
_LENGTH_LIMIT = 512  # characters; a repository has at most 255, and its host as many


@dataclass(frozen=True)
class Scope:
    """Where a rule holds."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Raises: ValueError saying what is wrong."""
        if not text or len(text) > _LENGTH_LIMIT:
            raise ValueError("a scope is a repository such as registry.example/team/**")
        for component in text.split("/"):
            if not _COMPONENT.fullmatch(component) or ("**" in component and component != "**"):
                raise ValueError(f"{component!r} is no component of a scope: small letters, digits, . _ - and *, or **")
        return cls(text)

    def matches(self, repository: str) -> bool:
        """Whether the rule is for `repository`, which is `[host/]name` without tag and digest.

        `a/**` is for `a/b` and `a/b/c`, not for `a`; `**/a` is for `a` too, as in other languages of globs.
        """
        names = repository.lower().split("/")
        *patterns, last = self.text.split("/")
        reached = {0}  # how many names the patterns so far may stand for
        for pattern in patterns:
            if pattern == "**":
                reached = set(range(min(reached), len(names)))
            else:
                reached = {at + 1 for at in reached if at < len(names) - 1 and matches_stars(pattern, names[at])}
            if not reached:
                return False
        return last == "**" or (len(names) - 1 in reached and matches_stars(last, names[-1]))

    @property
    def rank(self) -> tuple[int, int, int]:
        """The greater, the nearer: what is fixed before the first wildcard, then all that is fixed, then fewer `**`."""
        fixed = len(self.text.partition("*")[0]) if "*" in self.text else _LENGTH_LIMIT
        return fixed, len(self.text.replace("*", "")), -self.text.count("**")

    @property
    def names_its_host(self) -> bool:
        """Whether the first component is written out: the scope is not open to whoever comes."""
        return "*" not in self.text.partition("/")[0]
