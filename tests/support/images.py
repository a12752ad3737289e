"""Kits to make images of, building, and images looked at the way a container runtime does: layer upon layer."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlkit
from mlkit.api.images import BuiltImage, ImageOptions, build_image
from mlkit.api.session import Session
from mlkit.serving.image_places import parse_base, parse_target
from mlkit.spec.reference import Reference

MIB = 1 << 20
KITFILE = """\
manifestVersion: "1.0.0"
package: {name: tiny, version: 1.2.0, description: a model for tests, license: Apache-2.0}
model: {name: tiny, path: model, format: safetensors}
code: [{path: code}]
datasets: [{name: train, path: data}]
parameters: [{path: params.yaml}]
"""
FILES = {
    "model/a.safetensors": bytes(range(256)) * 6000,
    "model/b.safetensors": bytes(reversed(range(256))) * 6000,
    "model/config.json": b'{"model_type": "tiny"}',
    "model/tokenizer/vocab.txt": b"a\nb\n",
    "code/run.py": b"print('run')\n",
    "code/lib/more.py": b"X = 1\n",
    "data/train.csv": b"a,b\n1,2\n",
    "params.yaml": b"lr: 0.1\n",
}


def write_kit(folder: Path, files: Mapping[str, bytes] = FILES, *, kitfile: str = KITFILE) -> Path:
    """A project to pack."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "Kitfile").write_text(kitfile)
    return folder


def pack_kit(session: Session, folder: Path, files: Mapping[str, bytes] = FILES, **options: Any) -> str:
    """A kit in the local store, `tiny:1.2`."""
    kitfile = options.pop("kitfile", KITFILE)
    reference = options.pop("tag", "tiny:1.2")
    mlkit.pack(write_kit(folder, files, kitfile=kitfile), tag=reference, session=session, **options)
    return str(reference)


def build(session: Session, reference: str, base: str, target: str, **options: Any) -> BuiltImage:
    """An image of a kit."""
    remote = options.pop("remote", False)
    return build_image(
        session,
        Reference.parse(reference),
        parse_base(base),
        parse_target(target),
        ImageOptions(**options),
        remote=remote,
    )


class LaidOut:
    """An image in a layout, read without mlkit."""

    def __init__(self, folder: Path, tag: str = "1", *, platform: str | None = None) -> None:
        self.folder = folder
        entries = json.loads((folder / "index.json").read_text())["manifests"]
        self.root = next(
            one for one in entries if one.get("annotations", {})["org.opencontainers.image.ref.name"] == tag
        )
        document = self.json(self.root)
        if "manifests" in document:
            self.index = document
            listed = document["manifests"]
            document = self.json(next(one for one in listed if one["platform"]["architecture"] == platform))
        self.manifest = document
        self.config = self.json(document["config"])

    def raw(self, desc: Mapping[str, Any]) -> bytes:
        digest = str(desc["digest"])
        return (self.folder / "blobs" / digest.replace(":", "/")).read_bytes()

    def json(self, desc: Mapping[str, Any]) -> Any:
        return json.loads(self.raw(desc))

    def tars(self) -> list[bytes]:
        """The layers, uncompressed."""
        return [
            gzip.decompress(self.raw(layer)) if layer["mediaType"].endswith("gzip") else self.raw(layer)
            for layer in self.manifest["layers"]
        ]

    def files(self) -> dict[str, bytes]:
        """Every regular file by path, and what links point at, as `-> target`."""
        found: dict[str, bytes] = {}
        for layer in self.tars():
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                for member in archive:
                    if member.isreg():
                        stream = archive.extractfile(member)
                        assert stream is not None
                        found[member.name] = stream.read()
                    elif member.issym():
                        found[member.name] = f"-> {member.linkname}".encode()
        return found
