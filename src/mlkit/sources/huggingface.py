"""The commit on Hugging Face that files came from, from what its client leaves beside them.

huggingface_hub, "Understand caching" (`models--org--name/snapshots/COMMIT`) and "Download files to a local folder"
(`.cache/huggingface/download/PATH.metadata`: commit, ETag and time, a line each).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlkit.sources.small_files import read_small

_SNAPSHOT = re.compile(r"(models|datasets|spaces)--([A-Za-z0-9._-]{1,96}?)(?:--([A-Za-z0-9._-]{1,96}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LIMIT = 1024  # bytes of one metadata file: a commit, an ETag and a time
_LOOKED_AT = 1000  # files whose metadata is read


def snapshot(directory: Path) -> str | None:
    """`hf://org/name@commit` of a directory that is a snapshot in a cache; None for any other."""
    place = directory.resolve()
    if place.parent.name != "snapshots" or not _COMMIT.fullmatch(place.name):
        return None
    matched = _SNAPSHOT.fullmatch(place.parent.parent.name)
    if matched is None:
        return None
    kind = "" if matched[1] == "models" else f"{matched[1]}/"
    name = f"{matched[2]}/{matched[3]}" if matched[3] else matched[2]
    return f"hf://{kind}{name}@{place.name}"


def downloaded(directory: Path, paths: Iterable[str]) -> dict[str, str]:
    """The commit of each of the `paths` that was downloaded into `directory`; which repository it was, nothing says."""
    records = directory / ".cache" / "huggingface" / "download"
    if not records.is_dir():
        return {}
    found = {}
    for _, path in zip(range(_LOOKED_AT), paths, strict=False):
        raw = read_small(records / f"{path}.metadata", limit=_LIMIT)
        commit = (raw or b"").partition(b"\n")[0].strip().decode("ascii", "replace")
        if _COMMIT.fullmatch(commit):
            found[path] = commit
    return found
