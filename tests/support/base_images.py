"""Base images made by hand, with Python's own tarfile: a layout on disk, of one platform or several.

The one that really runs holds Debian's static busybox and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.tools import find_tool

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
_APPLETS = ("sh", "cat", "ls", "sha256sum", "id", "touch", "stat", "sleep", "ln", "test", "find", "readlink")


@dataclass(frozen=True)
class Base:
    """An image for one platform."""

    layers: Sequence[bytes] = (b"",)
    """Uncompressed tars."""
    architecture: str = "amd64"
    os: str = "linux"
    variant: str | None = None
    container: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the config document."""
    is_docker: bool = False
    layer_type: str | None = None
    """Another media type than that of a gzipped layer."""
    is_compressed: bool = True


def tar(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None, mode: int = 0o644) -> bytes:
    """A tar with these files and symbolic links."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return sink.getvalue()


def write_base(folder: Path, *bases: Base, tag: str = "1") -> Path:
    """An OCI image layout of one image, or of an index of several; gives the folder."""
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    described = [_write_image(folder, base) for base in bases or (Base(),)]
    if len(described) == 1:
        root = {key: value for key, value in described[0].items() if key != "platform"}
    else:
        index = {"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": described}
        root = _blob(folder, json.dumps(index).encode(), f"{OCI}index.v1+json")
    root["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))
    return folder


def busybox_layer() -> bytes:
    """The layer of an image that has a shell; the test is skipped where busybox is not installed."""
    program = find_tool("busybox")
    if program is None:
        pytest.skip("busybox-static is not installed")
    files = {"bin/busybox": program.read_bytes(), "etc/passwd": b"root:x:0:0::/:/bin/sh\n"}
    return tar(files, links={f"bin/{name}": "busybox" for name in _APPLETS}, mode=0o755)


def busybox(**changes: Any) -> Base:
    """An image that runs a shell."""
    container = {"Env": ["PATH=/bin"], "Cmd": ["sh"]} | changes.pop("container", {})
    return Base((busybox_layer(),), container=container, **changes)


def _write_image(folder: Path, base: Base) -> dict[str, Any]:
    compressed = [gzip.compress(layer, mtime=0) if base.is_compressed else layer for layer in base.layers]
    kind = f"{DOCKER}image.rootfs.diff.tar.gzip" if base.is_docker else f"{OCI}layer.v1.tar+gzip"
    if not base.is_compressed:
        kind = f"{OCI}layer.v1.tar"
    layers = [_blob(folder, layer, base.layer_type or kind) for layer in compressed]
    config = {
        "architecture": base.architecture,
        "os": base.os,
        "config": dict(base.container),
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in base.layers]},
        "history": [{"created_by": "made by a test"} for _ in base.layers],
        **({"variant": base.variant} if base.variant else {}),
        **base.config,
    }
    config_type = f"{DOCKER}container.image.v1+json" if base.is_docker else f"{OCI}config.v1+json"
    manifest_type = f"{DOCKER}distribution.manifest.v2+json" if base.is_docker else f"{OCI}manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": _blob(folder, json.dumps(config).encode(), config_type),
        "layers": layers,
    }
    platform = {"os": base.os, "architecture": base.architecture}
    if base.variant:
        platform["variant"] = base.variant
    return {**_blob(folder, json.dumps(manifest).encode(), manifest_type), "platform": platform}


def _blob(folder: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = _digest(content)
    (folder / "blobs/sha256" / digest.partition(":")[2]).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
