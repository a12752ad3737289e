"""Scopes of a policy: which repositories a rule is for, and which of several rules is the nearest. Pure.

A scope is a repository as references name it, `registry.example/team/digits`, in which `*` stands for anything within a
component and a whole component `**` for any number of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_COMPONENT = re.compile(r"(?:\*\*|[a-z0-9*._-]+(?::[0-9*]{1,5})?|\[[0-9a-f:]+\](?::[0-9*]{1,5})?)", re.ASCII)
_LENGTH_LIMIT = 512  # characters; a repository has at most 255, and its host as many
_STARS_LIMIT = 8  # in one scope, so that no name takes long to compare


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
        if text.count("*") > _STARS_LIMIT * 2 or len(re.findall(r"\*+", text)) > _STARS_LIMIT:
            raise ValueError(f"more than {_STARS_LIMIT} wildcards")
        return cls(text)

    def matches(self, repository: str) -> bool:
        """Whether the rule is for `repository`, which is `[host/]name` without tag and digest."""
        return self._pattern.fullmatch(repository.lower()) is not None

    @property
    def rank(self) -> tuple[int, int, int]:
        """The greater, the nearer: what is fixed before the first wildcard, then all that is fixed, then fewer `**`."""
        fixed = len(self.text.partition("*")[0]) if "*" in self.text else _LENGTH_LIMIT
        return fixed, len(self.text.replace("*", "")), -self.text.count("**")

    @property
    def names_its_host(self) -> bool:
        """Whether the first component is written out: the scope is not open to whoever comes."""
        return "*" not in self.text.partition("/")[0]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # `a/**` is for `a/b` and `a/b/c`, not for `a`; `**/a` is for `a` too, as in other languages of globs.
        regex = ""
        components = self.text.split("/")
        for at, component in enumerate(components):
            is_last = at == len(components) - 1
            if component == "**":
                regex += ".+" if is_last else "(?:[^/]+/)*"
            else:
                regex += re.escape(component).replace(r"\*", "[^/]*") + ("" if is_last else "/")
        return re.compile(regex)
