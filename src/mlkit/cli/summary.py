"""What push and pull say at the end: what moved, and what was already there."""

from __future__ import annotations

from mlkit.api.transfer import Moved
from mlkit.cli import render


def moved_summary(verb: str, moved: Moved) -> str:
    """One or two lines."""
    told = f"would {verb}" if moved.dry_run else f"{verb}ed"
    partial = ", partial" if moved.is_partial else ""
    lines = [
        f"{told} {moved.reference}: moved {render.size(moved.moved_bytes)}, already there "
        f"{render.size(moved.present_bytes)}, of a kit of {render.size(moved.size)}{partial}"
    ]
    if moved.unpacked is not None:
        unpacked = moved.unpacked
        written = f"{render.counted(len(unpacked.files), 'file')}, {render.size(unpacked.size)}"
        lines.append(f"unpacked into {unpacked.directory}: {written}")
    return "\n".join(lines)
