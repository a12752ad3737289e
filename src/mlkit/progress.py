"""How long work tells what it is doing, without knowing who listens.

Calls may come from several threads at once; an implementation locks what it must.
"""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["done", "present", "failed"]
"""`done`: the bytes moved; `present`: they were already there; `failed`: the work on this item stopped."""


class Progress(Protocol):
    """What a listener implements."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Work on an item begins; `total` is in bytes, None when it is not known beforehand."""

    def advance(self, key: str, count: int) -> None:
        """`count` more bytes of the item are done; negative when a transfer starts over."""

    def resume(self, key: str, count: int) -> None:
        """The item begins with `count` bytes that an earlier run brought, and not with what was told so far.

        They are done, and do not move. With 0 the item starts over.
        """

    def finish(self, key: str, outcome: Outcome) -> None:
        """Work on the item has ended."""

    def warn(self, message: str) -> None:
        """Something that a person should read, and that stops nothing."""


class NoProgress:
    """Nobody listens."""

    def start(self, key: str, label: str, total: int | None) -> None:
        pass

    def advance(self, key: str, count: int) -> None:
        pass

    def resume(self, key: str, count: int) -> None:
        pass

    def finish(self, key: str, outcome: Outcome) -> None:
        pass

    def warn(self, message: str) -> None:
        pass
