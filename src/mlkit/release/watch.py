"""Watching a channel after it was moved: a probe again and again, until time is up or it failed too often in a row.

The probe, the clock and the waiting are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlkit.errors import UsageError

Probe = Callable[[], str | None]
"""Asks once; gives why it failed, or None."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How long, how often, and how much is too much."""

    duration: float = 600.0
    """Seconds."""
    every: float = 10.0
    """Seconds from the start of one probe to the start of the next."""
    failures: int = 3
    """In a row."""
    timeout: float = 10.0
    """Seconds that one probe may take."""

    def __post_init__(self) -> None:
        if self.failures < 1 or self.every <= 0 or self.timeout <= 0 or self.duration < 0:
            raise UsageError("a watch needs at least one failure, and times above 0")


@dataclass(frozen=True, slots=True)
class Watched:
    """How it went."""

    probes: int
    reason: str | None
    """What the last probe said, where it failed too often; None where all is well."""


def watch(
    plan: Watch,
    probe: Probe,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    listen: Callable[[int, str | None], None] = lambda _number, _reason: None,
) -> Watched:
    """Probe until `plan.duration` is over, and longer while it is failing: nothing ends between two failures.

    `clock` is monotonic. `listen` is told of each probe, counted from 1, with the reason of a failure.
    """
    started = clock()
    row = 0
    number = 0
    while True:
        reason = probe()
        number += 1
        listen(number, reason)
        row = 0 if reason is None else row + 1
        if row >= plan.failures:
            return Watched(number, reason)
        following = started + number * plan.every
        if following - started > plan.duration and row == 0:
            return Watched(number, None)
        sleep(max(0.0, following - clock()))
