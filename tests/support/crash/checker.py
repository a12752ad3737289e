"""A judge of layouts and folders that shares no code with mlkit: what stands is whole, and nothing else was touched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_NAME = "org.opencontainers.image.ref.name"


def names_of(store: Path) -> dict[str, str]:
    """Every name with its digest, after checking that all which the index reaches is whole, and every blob itself."""
    index = json.loads((store / "index.json").read_bytes())
    assert json.loads((store / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    names: dict[str, str] = {}
    for entry in index["manifests"]:
        manifest = json.loads(_blob(store, entry))
        for child in (*manifest.get("manifests", []), *manifest.get("layers", []), manifest.get("config")):
            if child is not None:
                _blob(store, child)
        name = entry.get("annotations", {}).get(_NAME)
        assert name is None or name not in names, f"{name} is there twice"
        if name is not None:
            names[name] = entry["digest"]
    for path in (store / "blobs").glob("*/*"):
        assert hashlib.new(path.parent.name, path.read_bytes()).hexdigest() == path.name, f"half a blob: {path}"
    return names


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder with its kind, mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
        found[str(path.relative_to(folder))] = f"{mode:o} {content}"
    return found


def _blob(store: Path, desc: dict[str, Any]) -> bytes:
    algorithm, _, digest = str(desc["digest"]).partition(":")
    content = Path(store, "blobs", algorithm, digest).read_bytes()
    assert len(content) == desc["size"], f"{desc['digest']} has {len(content)} bytes"
    assert hashlib.new(algorithm, content).hexdigest() == digest, f"{desc['digest']} has other bytes"
    return content
