"""Directories to pack, and what came of packing them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlkit.archive.walk import SourceFile
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import read_blob
from mlkit.packing.pack import PackResult, pack, prepare
from mlkit.packing.plan import PackOptions
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import parse_object
from mlkit.spec.media_types import FILEPATH, KIT_DOCUMENT_PATH

DATA = Path(__file__).parents[3] / "shared" / "data"
"""Schemas and cases of the formats; not part of the repository."""


class DictCache:
    """A digest cache that counts what it is asked."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.hits = 0

    def get(self, key: bytes) -> bytes | None:
        self.hits += key in self.values
        return self.values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value


def write_tree(root: Path, files: Mapping[str, bytes] | Iterable[str]) -> Path:
    """Create files; a name without content gets `testing: <name>`, as the cases of KitOps have it."""
    contents = files if isinstance(files, Mapping) else {name: f"testing: {name}".encode() for name in files}
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def packed(
    root: Path, kitfile: str, store: MemoryStore | None = None, **options: Any
) -> tuple[PackResult, MemoryStore]:
    """Pack a directory into memory."""
    target = store or MemoryStore()
    return pack(prepare(root, kitfile, PackOptions(**options)), target), target


def packed_paths(result: PackResult) -> list[str]:
    """Every file of a kit, in order."""
    return sorted(file.path for layer in result.document.layers for file in layer.files)


def config_of(result: PackResult, store: MemoryStore) -> dict[str, Any]:
    return parse_object(blob(result.manifest.config, store), what="config")


def blob(desc: Descriptor, store: MemoryStore) -> bytes:
    return read_blob(store, desc, limit=1 << 30)


def content_layers(result: PackResult) -> list[Descriptor]:
    """All layers but the kit document."""
    return [layer for layer in result.manifest.layers if layer.annotations[FILEPATH] != KIT_DOCUMENT_PATH]


def source(path: str, size: int = 10, *, mode: int = 0o644) -> SourceFile:
    """A file that is not there, for plans."""
    stat = os.stat_result((0o100644, 1, 1, 1, 0, 0, size, 0, 0, 0), {"st_mtime_ns": 0, "st_ctime_ns": 0})
    return SourceFile(path, f"/nowhere/{path}", size, mode, stat)
