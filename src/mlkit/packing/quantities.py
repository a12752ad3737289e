"""Amounts as people label models with them: `24GB`, `16GiB`, `7B`, `8.6`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

_TEXT = re.compile(r"([+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?) ?([A-Za-z]*)", re.ASCII)
_UNITS: dict[str, tuple[Literal["bytes", "count"], int]] = {
    "": ("count", 1),
    "k": ("count", 10**3),
    "m": ("count", 10**6),
    "g": ("count", 10**9),
    "b": ("count", 10**9),  # as in "a model of 7B"
    "t": ("count", 10**12),
    **{f"{prefix}b": ("bytes", 1000**power) for power, prefix in enumerate("kmgtp", 1)},
    **{f"{prefix}ib": ("bytes", 1024**power) for power, prefix in enumerate("kmgtp", 1)},
    **{f"{prefix}i": ("bytes", 1024**power) for power, prefix in enumerate("kmgtp", 1)},
    "bytes": ("bytes", 1),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of bytes, or of anything else. Two of a kind can be compared, and no others."""

    kind: Literal["bytes", "count"]
    amount: Fraction

    @classmethod
    def parse(cls, value: Any) -> Quantity | None:
        """Read text or a number; None for what is neither an amount nor a unit that is known. Case does not matter."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        found = _TEXT.fullmatch(value.strip() if isinstance(value, str) else str(value))
        unit = _UNITS.get(found[2].lower()) if found else None
        return None if found is None or unit is None else cls(unit[0], Fraction(found[1]) * unit[1])
