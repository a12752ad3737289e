"""How long work tells what it is doing, without knowing who listens.

Calls may come from several threads at once; an implementation locks what it must.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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


Fact = str | int | float | bool


class Span(Protocol):
    """A piece of work that is being timed."""

    def note(self, **facts: Fact) -> None:
        """What became known of it meanwhile."""


class Tracer(Protocol):
    """Who wants to know what took how long, such as OpenTelemetry."""

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[Span]:
        """Work from here to the end of the context; an error that leaves it is told too."""

    def measure(self, name: str, value: float, **facts: Fact) -> None:
        """One figure of a run: `duration` in seconds, `moved` in bytes."""


class NoTracer:
    """Nobody wants to know."""

    @contextmanager
    def span(self, name: str, **facts: Fact) -> Iterator[Span]:  # noqa: ARG002  # the protocol's signature
        yield self

    def note(self, **facts: Fact) -> None:
        pass

    def measure(self, name: str, value: float, **facts: Fact) -> None:
        pass
