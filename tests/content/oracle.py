"""A judge of layouts that shares no code with what it judges."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def names_of_sound_layout(root: Path) -> dict[str, str]:
    """Every name with its digest, after checking that whatever the index points at is there and has its digest."""
    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((root / "index.json").read_bytes())
    names = {}
    for entry in index["manifests"]:
        manifest = json.loads(_content(root, entry))
        for blob in [manifest["config"], *manifest["layers"]]:
            _content(root, blob)
        name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
        if name is not None:
            assert name not in names
            names[name] = entry["digest"]
    for blob in (root / "blobs").rglob("*"):
        if blob.is_file():
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    return names


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root` with its content, but for the lock and the journal's kin in `.mlkit`."""
    return {
        os.fspath(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".mlkit" not in path.parts
    }


def _content(root: Path, desc: dict[str, str]) -> bytes:
    algorithm, _, digest = desc["digest"].partition(":")
    content = (root / "blobs" / algorithm / digest).read_bytes()
    assert len(content) == desc["size"]
    assert hashlib.new(algorithm, content).hexdigest() == digest
    return content
