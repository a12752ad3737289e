"""What commands that move kits say at the end: what moved, what was already there, and where a tag was before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.api.moving import Moved, Unpacked
from mlkit.cli import render

_PATHS = 20
"""Files that are shown one by one; more of them are shown by the entry that they belong to."""

if TYPE_CHECKING:
    from mlkit.api.images import BuiltImage
    from mlkit.api.indexes import Indexed
    from mlkit.api.loading import Loaded
    from mlkit.api.saving import Saved
    from mlkit.api.signing import Signed


def moved_summary(verb: str, moved: Moved) -> str:
    """One to four lines, and those of `left_lines`."""
    past = f"{verb[:-1]}ied" if verb.endswith("y") else f"{verb}ed"
    told = f"would {verb}" if moved.dry_run else past
    partial = ", partial" if moved.is_partial else ""
    along = f", with {render.counted(moved.referrers, 'referrer')}" if moved.referrers else ""
    resumed = f"gone on after {render.size(moved.resumed_bytes)}, " if moved.resumed_bytes else ""
    lines = [
        f"{told} {moved.reference}: moved {render.size(moved.moved_bytes)}, {resumed}already there "
        f"{render.size(moved.present_bytes)}, of a kit of {render.size(moved.size)}{partial}{along}"
    ]
    if moved.variant is not None:
        lines.append(f"of the index {moved.digest} the kit {moved.variant}")
    if moved.replaced is not None:
        would = "would move" if moved.dry_run else "moved"
        lines.append(f"the tag {would}: {moved.replaced} -> {moved.digest}")
    if moved.unpacked is not None:
        unpacked = moved.unpacked
        written = f"{render.counted(len(unpacked.files), 'file')}, {render.size(unpacked.size)}"
        lines.append(f"unpacked into {unpacked.directory}: {written}")
        lines += left_lines(unpacked)
    return "\n".join(lines)


def unpacked_text(unpacked: Unpacked, *, is_verbose: bool) -> str:
    """Every path, or, where they are many and nobody wants them all, a table by entry."""
    if is_verbose or len(unpacked.files) <= _PATHS:
        return "\n".join(map(render.escape, unpacked.files))
    headings = ("ENTRY", "PATH", "FILES", "SIZE")
    told = [(one.entry or "-", one.path, str(one.files), render.size(one.size)) for one in unpacked.entries]
    told.append(("all", str(unpacked.directory), str(len(unpacked.files)), render.size(unpacked.size)))
    room = render.room_beside(*(max(len(row[column]) for row in (headings, *told)) for column in (0, 2, 3)))
    rows = [(entry, render.cell(path, room), files, size) for entry, path, files, size in told]
    return render.table(headings, rows, right=frozenset({"FILES", "SIZE"}))


def left_lines(unpacked: Unpacked) -> list[str]:
    """One line for each dataset that is elsewhere and stays there."""
    return [f"left where it is: {render.escape(place)} (--include-remote fetches it)" for place in unpacked.left]


def saved_summary(output: Path, saved: Saved) -> str:
    """One line."""
    along = f" with {render.counted(saved.referrers, 'referrer')}" if saved.referrers else ""
    return f"saved {render.counted(len(saved.kits), 'kit')}{along} to {output}: {render.size(saved.size)}"


def loaded_summary(loaded: Loaded) -> str:
    """One line, and one for each name that pointed elsewhere before."""
    along = f" with {render.counted(loaded.referrers, 'referrer')}" if loaded.referrers else ""
    lines = [
        f"loaded {render.counted(len(loaded.kits), 'kit')}{along}: new {render.size(loaded.moved_bytes)}, "
        f"already there {render.size(loaded.present_bytes)}"
    ]
    lines += [f"{kit.reference} moved: {kit.replaced} -> {kit.digest}" for kit in loaded.kits if kit.replaced]
    return "\n".join(lines)


def indexed_summary(indexed: Indexed) -> str:
    """One line, and one where the name pointed elsewhere before."""
    lines = [f"{indexed.reference}: an index of {render.counted(indexed.kits, 'kit')}"]
    if indexed.replaced is not None:
        lines.append(f"the tag moved: {indexed.replaced} -> {indexed.digest}")
    return "\n".join(lines)


def built_summary(built: BuiltImage) -> str:
    """One line, and one where the tag pointed elsewhere before."""
    lines = [
        f"built {built.target} for {', '.join(built.platforms)}: moved {render.size(built.moved_bytes)}, already there "
        f"{render.size(built.present_bytes)}, of an image of {render.size(built.size)}"
    ]
    if built.statements:
        lines.append(f"attached {render.counted(built.statements, 'signed statement')}")
    if built.replaced is not None:
        lines.append(f"the tag moved: {built.replaced} -> {built.digest}")
    return "\n".join(lines)


def signed_summary(past: str, signed: Signed) -> str:
    """One line, and one that says how a local signature comes to a registry."""
    lines = [f"{past} {signed.reference}: {signed.digest}"]
    if signed.found == "local":
        lines.append("kept in the local store; `mlkit push` takes it along, and --remote writes to the registry itself")
    return "\n".join(lines)
