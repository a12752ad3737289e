"""What share of its lines and branches the tests of a room take, after `coverage combine`: `make coverage`.

Ends with 1 where a room has less than the least that is promised (docs/reference/reliability.md).
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[2]
ROOMS = ("archive", "content", "registry", "spec")
LEAST = 95.0
"""Percent, of lines and branches together and of branches alone, in each room."""


def main() -> int:
    """Print what is left out, and a line for each room."""
    measured = Coverage(config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    is_enough = True
    lines: list[str] = []
    for room in ROOMS:
        table = io.StringIO()
        include = [str(ROOT / "src" / "mlkit" / room / "*")]
        share = measured.report(include=include, show_missing=True, skip_covered=True, file=table)
        print(table.getvalue())
        branches = _of_branches(measured, include)
        is_enough = is_enough and min(share, branches) >= LEAST
        lines.append(f"{room:10} {share:5.1f} % of lines and branches, {branches:5.1f} % of branches")
    print(*lines, f"at least {LEAST:.0f} % of each: {'yes' if is_enough else 'NO'}", sep="\n")
    return 0 if is_enough else 1


def _of_branches(measured: Coverage, include: list[str]) -> float:
    """Percent of the ways out of lines that have several."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        measured.json_report(include=include, outfile=str(path))
        totals = json.loads(path.read_text())["totals"]
    return 100.0 * float(totals["covered_branches"]) / float(totals["num_branches"])


if __name__ == "__main__":
    raise SystemExit(main())
