"""What push, pull and copy say at the end: what moved, what was already there, and where a tag was before."""

from __future__ import annotations

from mlkit.api.moving import Moved
from mlkit.cli import render


def moved_summary(verb: str, moved: Moved) -> str:
    """One to three lines."""
    past = f"{verb[:-1]}ied" if verb.endswith("y") else f"{verb}ed"
    told = f"would {verb}" if moved.dry_run else past
    partial = ", partial" if moved.is_partial else ""
    along = f", with {render.counted(moved.referrers, 'referrer')}" if moved.referrers else ""
    resumed = f"gone on after {render.size(moved.resumed_bytes)}, " if moved.resumed_bytes else ""
    lines = [
        f"{told} {moved.reference}: moved {render.size(moved.moved_bytes)}, {resumed}already there "
        f"{render.size(moved.present_bytes)}, of a kit of {render.size(moved.size)}{partial}{along}"
    ]
    if moved.replaced is not None:
        would = "would move" if moved.dry_run else "moved"
        lines.append(f"the tag {would}: {moved.replaced} -> {moved.digest}")
    if moved.unpacked is not None:
        unpacked = moved.unpacked
        written = f"{render.counted(len(unpacked.files), 'file')}, {render.size(unpacked.size)}"
        lines.append(f"unpacked into {unpacked.directory}: {written}")
    return "\n".join(lines)
