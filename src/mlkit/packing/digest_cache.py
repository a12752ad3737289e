"""What an earlier pack found out, so that packing again reads only what changed. Nothing here does I/O.

A key holds all that tells a changed file from an unchanged one without reading it: path, size, mtime, ctime, inode and
device. A value may come from a damaged cache and counts for nothing unless it is well formed; what it promises is
checked by asking the store for the blob.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

from mlkit.archive.walk import SourceFile
from mlkit.errors import IntegrityError, LimitError
from mlkit.packing.plan import PlannedLayer
from mlkit.packing.write_layer import LayerContent
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

RACY_NANOSECONDS = 2_000_000_000
"""Coarsest timestamp of a common file system (FAT's two seconds): a file younger than this may change unnoticed."""

_VALUE_LIMIT = 128 * 1024 * 1024
_HEX = 64


class DigestCache(Protocol):
    """Where the caller keeps keys and values; may forget any of them at any time."""

    def get(self, key: bytes) -> bytes | None:
        """The value, None where there is none."""

    def put(self, key: bytes, value: bytes) -> None:
        """Keep the value, or not."""


def cache_key(layer: PlannedLayer) -> bytes:
    """The key under which a layer's content is remembered."""
    hasher = hashlib.sha256(f"{layer.kind} {layer.compression} 1".encode())
    for directory in layer.directories:
        hasher.update(b"\0d" + directory.encode())
    for file in layer.files:
        # A raw layer is the bytes alone; in a tar, names and modes are part of them.
        name = f"{file.mode:o} {file.path}".encode() if layer.kind == "tar" else b""
        hasher.update(b"\0f" + name + b"\0" + _identity(file))
    return hasher.digest()


def render_content(content: LayerContent) -> bytes:
    """The value for a layer's content."""
    return render_json(
        {
            "digest": str(content.digest),
            "size": content.size,
            "diffId": str(content.diff_id),
            "files": "".join(digest.hex for digest in content.files),
        }
    )


def parse_content(raw: bytes, *, file_count: int) -> LayerContent | None:
    """The layer's content, None for a value that is not what `render_content` wrote."""
    try:
        value = parse_object(raw, what="cache", limit=_VALUE_LIMIT)
        digest, diff_id = Digest.parse(value.get("digest")), Digest.parse(value.get("diffId"))
        size, text = value.get("size"), value.get("files")
        if type(size) is not int or size < 0 or not isinstance(text, str) or len(text) != file_count * _HEX:
            return None
        files = [Digest.parse(f"sha256:{text[start : start + _HEX]}") for start in range(0, len(text), _HEX)]
    except (IntegrityError, LimitError):
        return None
    return LayerContent(digest, size, diff_id, tuple(files))


def is_settled(layer: PlannedLayer, *, now: int) -> bool:
    """Whether no file is so young at `now` (ns since 1970) that another write could leave its timestamps alone."""
    newest = max((max(file.stat.st_mtime_ns, file.stat.st_ctime_ns) for file in layer.files), default=0)
    return now - newest > RACY_NANOSECONDS


def _identity(file: SourceFile) -> bytes:
    seen = file.stat
    numbers = f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino} {seen.st_dev} "
    return numbers.encode() + os.fsencode(file.real)
