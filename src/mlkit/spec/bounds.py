"""Bounds on metrics, such as `accuracy >= 0.95`: what a check of a kit may ask of the numbers that it measured."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.errors import UsageError

_BOUND = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_./@-]{0,127})\s*(>=|<=|==|!=|>|<)\s*([-+]?[0-9]{1,19}(?:\.[0-9]{1,19})?(?:[eE][-+]?[0-9]{1,3})?)\s*",
    re.ASCII,
)
_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """A metric by its name, and what its value must be."""

    metric: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read `accuracy >= 0.95`. Raises: UsageError."""
        found = _BOUND.fullmatch(text)
        if found is None or not math.isfinite(float(found[3])):
            raise UsageError(
                f"{ascii(text)[:100]} is not a bound on a metric",
                hint="it reads accuracy >= 0.95, with one of >= > <= < == !=",
            )
        return cls(found[1], found[2], float(found[3]))

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """What was measured, `test.accuracy` as that name or inside `test`; None where that is no number."""
        found: Any = metrics.get(self.metric)
        if found is None:
            found = metrics
            for name in self.metric.split("."):
                found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, bool) or not isinstance(found, int | float):
            return None
        return float(found)

    def holds(self, value: float) -> bool:
        """Whether a value is within it."""
        return bool(_OPERATORS[self.operator](value, self.limit))

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.limit:g}"
