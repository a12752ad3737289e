"""Is what many processes saw of one name explained by some order of their operations, one after the other?

The search of Wing and Gong with memory (Lowe, "Testing for linearizability", 2017), for a register: small enough to be
believed, and it knows nothing of how the register is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that one process did to the register, by one clock for all."""

    start: int
    end: int
    wrote: str | None = None
    """What it wrote; "" for taking the name away. None for a look."""
    saw: str | None = None
    """What a look saw; "" for nothing."""


def is_linearizable(history: Sequence[Operation], initial: str = "") -> bool:
    """Whether each operation can be given one moment between its start and its end so that every look saw the last
    writing before it.
    """
    operations = sorted(history, key=lambda operation: operation.start)
    everything = (1 << len(operations)) - 1
    seen: set[tuple[int, str]] = set()
    pending = [(0, initial)]
    while pending:
        done, value = pending.pop()
        if done == everything:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        left = [number for number in range(len(operations)) if not done >> number & 1]
        # Whoever ended first among those that are left is not passed by one that began after that.
        deadline = min(operations[number].end for number in left)
        for number in left:
            operation = operations[number]
            if operation.start > deadline:
                break
            if operation.wrote is not None:
                pending.append((done | 1 << number, operation.wrote))
            elif operation.saw == value:
                pending.append((done | 1 << number, value))
    return False
