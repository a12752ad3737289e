"""What share of its lines and branches the tests of a room take, after `coverage combine`: `make coverage`.

Ends with 1 where a room has less than the least that is promised (docs/reference/reliability.md).
"""

from __future__ import annotations

import io
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[2]
ROOMS = ("archive", "content", "registry", "spec")
LEAST = 95.0
"""Percent, of each room."""


def main() -> int:
    """Print what is left out, and a line for each room."""
    measured = Coverage(config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    shares: dict[str, float] = {}
    for room in ROOMS:
        table = io.StringIO()
        include = str(ROOT / "src" / "mlkit" / room / "*")
        shares[room] = measured.report(include=[include], show_missing=True, skip_covered=True, file=table)
        print(table.getvalue())
    for room, share in shares.items():
        print(f"{room:10} {share:5.1f} % of lines and branches (at least {LEAST:.0f} %)")
    return int(min(shares.values()) < LEAST)


if __name__ == "__main__":
    raise SystemExit(main())
