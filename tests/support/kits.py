"""Kits made by hand in a memory store, without the packer: own ones with a kit document, and those of other tools."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent
from mlkit.packing.kit import Kit, load_kit
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import (
    Compression,
    EntryRecord,
    FileRecord,
    InputRecord,
    Kind,
    KitDocument,
    LayerRecord,
    render_kit_document,
)
from mlkit.spec.kitfile import entries, parse_kitfile
from mlkit.spec.manifest import render_manifest
from mlkit.spec.media_types import (
    CLASS,
    FILEPATH,
    KIT,
    KIT_DOCUMENT_PATH,
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    KITOPS_KITFILE,
    MODELPACK_ARTIFACT,
    MODELPACK_CONFIG,
    Class,
)

_TYPES = {
    Class.MODEL: "weight",
    Class.DATASETS: "dataset",
    Class.PARAMETERS: "weight.config",
    Class.DEPLOYMENT: "code",
    Class.CODE: "code",
    Class.DOCS: "doc",
    Class.PROMPTS: "code",
    Class.MCPSERVERS: "code",
}


@dataclass(frozen=True)
class Layer:
    """A layer to be built; `files` by kit-relative path."""

    entry: str
    files: Mapping[str, bytes]
    kind: Kind = "raw"
    compression: Compression = "none"
    raw: bytes | None = None
    """What the layer holds instead of a well-formed tar of the files."""
    stored: bytes | None = None
    """What the store gives instead of the right bytes."""
    diff_id: Digest | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar as other programs write it; a name that ends in `/` is a directory."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.size = len(content)
            member.mode = 0o644
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


def tar_of_members(members: Sequence[tarfile.TarInfo]) -> bytes:
    """A tar of members without content: links, devices, names that no kit may hold."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for member in members:
            archive.addfile(member)
    return sink.getvalue()


def compressed(raw: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(raw, mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(raw)
    return raw


def own_kit(
    store: MemoryStore,
    kitfile: str,
    layers: Sequence[Layer],
    *,
    directories: Mapping[str, tuple[str, ...]] | None = None,
    inputs: tuple[InputRecord, ...] = (),
    change: Any = None,
) -> Descriptor:
    """Put a kit with a kit document into the store and give its manifest.

    `change` may alter the document before it is rendered: then document and manifest disagree.
    """
    found = entries(parse_kitfile(kitfile.encode()))
    records = tuple(
        EntryRecord(
            entry.id,
            entry.cls,
            entry.name,
            entry.path,
            entry.version,
            entry.description,
            (directories or {}).get(entry.id, ()),
        )
        for entry in found
    )
    by_id = {record.id: record for record in records}
    descs, layer_records = [], []
    for layer in layers:
        cls = by_id[layer.entry].cls
        plain = next(iter(layer.files.values())) if layer.kind == "raw" else layer.raw or tar_of(layer.files)
        packed = compressed(plain, layer.compression)
        suffix = layer.kind if layer.compression == "none" else f"{layer.kind}+{layer.compression}"
        path = next(iter(layer.files)) if layer.kind == "raw" else by_id[layer.entry].path
        desc = Descriptor.of(
            packed,
            f"application/vnd.cncf.model.{_TYPES[cls]}.v1.{suffix}",
            {FILEPATH: path, CLASS: cls.value, **layer.annotations},
        )
        descs.append(desc)
        put(store, desc, packed if layer.stored is None else layer.stored)
        layer_records.append(
            LayerRecord(
                desc.digest,
                desc.size,
                layer.diff_id or Digest.of(plain),
                layer.kind,
                layer.compression,
                cls,
                layer.entry,
                _file_records(layer, plain),
            )
        )
    document = KitDocument(kitfile, records, tuple(layer_records), inputs)
    raw = render_kit_document(document if change is None else change(document))
    document_desc = Descriptor.of(raw, "application/vnd.cncf.model.doc.v1.raw", {FILEPATH: KIT_DOCUMENT_PATH})
    put(store, document_desc, raw)
    diff_ids = [str(record.diff_id) for record in layer_records] + [str(document_desc.digest)]
    config = json.dumps({"descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": diff_ids}}).encode()
    return manifest_of(
        store,
        config,
        MODELPACK_CONFIG,
        [*descs, document_desc],
        artifact_type=MODELPACK_ARTIFACT,
        annotations={KIT: str(document_desc.digest)},
    )


def kitops_kit(
    store: MemoryStore, kitfile: Mapping[str, Any], layers: Sequence[tuple[str, bytes, Mapping[str, str]]]
) -> Descriptor:
    """A ModelKit as `kit` writes it: layers as (media type after `modelkit.`, bytes, annotations)."""
    descs = [_put_layer(store, f"application/vnd.kitops.modelkit.{kind}", raw, notes) for kind, raw, notes in layers]
    return manifest_of(
        store, json.dumps(kitfile).encode(), KITOPS_CONFIG, descs, artifact_type=KITOPS_ARTIFACT, annotations={}
    )


def modelpack_kit(
    store: MemoryStore,
    layers: Sequence[tuple[str, bytes, Mapping[str, str]]],
    *,
    kitfile: Mapping[str, Any] | None = None,
    prefix: str = "application/vnd.cncf.model.",
) -> Descriptor:
    """A ModelPack as `modctl` writes it, or with a Kitfile in its annotation as `kit` does."""
    descs = [_put_layer(store, prefix + kind, raw, notes) for kind, raw, notes in layers]
    diff_ids = [str(desc.digest) for desc in descs]
    config = json.dumps({"descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": diff_ids}}).encode()
    annotations = {} if kitfile is None else {KITOPS_KITFILE: json.dumps(kitfile)}
    return manifest_of(
        store, config, MODELPACK_CONFIG, descs, artifact_type=MODELPACK_ARTIFACT, annotations=annotations
    )


def manifest_of(
    store: MemoryStore,
    config: bytes,
    config_type: str,
    layers: Sequence[Descriptor],
    *,
    artifact_type: str | None,
    annotations: Mapping[str, str],
) -> Descriptor:
    config_desc = Descriptor.of(config, config_type)
    put(store, config_desc, config)
    manifest = render_manifest(
        config=config_desc, layers=tuple(layers), artifact_type=artifact_type, annotations=annotations
    )
    put(store, manifest.descriptor, manifest.raw)
    return manifest.descriptor


def put(store: MemoryStore, desc: Descriptor, raw: bytes) -> None:
    """Add content; wrong content too, as a disk that lost a bit would hold it."""
    if Digest.of(raw) == desc.digest:
        store.push(desc, BytesContent(raw))
    else:
        store._blobs[desc.digest] = raw


def digits_kit(store: MemoryStore) -> Kit:
    """A kit with something of most classes, to select from and to compare."""
    return load_kit(store, own_kit(store, DIGITS_KITFILE, DIGITS_LAYERS))


DIGITS_KITFILE = """\
# written by a person
manifestVersion: 1.0.0
package: {name: digits, version: "1.2"}
model:
  name: classifier
  path: model
  version: "6"
  parts:
    - {name: tokenizer, path: tokenizer.json}
datasets:
  - {name: train, path: data/train, version: "2"}
  - {name: test, path: data/test.csv}
parameters:
  - {name: training, path: params.yaml, version: "5"}
code:
  - {path: src}
docs:
  - {path: README.md}
"""

DIGITS_LAYERS = (
    Layer("model", {"model/weights.bin": b"w" * 3000}),
    Layer("model", {"model/config.json": b"{}"}),
    Layer("model.parts[0]", {"tokenizer.json": b"tokens"}),
    Layer(
        "datasets[0]",
        {
            "data/train/": b"",
            "data/train/a.parquet": b"a" * 700,
            "data/train/deep/b.parquet": b"b" * 900,
            "data/train/notes.txt": b"n",
        },
        kind="tar",
    ),
    Layer("datasets[1]", {"data/test.csv": b"1,2\n"}),
    Layer("parameters[0]", {"params.yaml": b"lr: 1\n"}),
    Layer("code[0]", {"src/train.py": b"pass\n", "src/lib/util.py": b"x = 1\n"}, kind="tar", compression="gzip"),
    Layer("docs[0]", {"README.md": b"# digits\n"}, kind="tar"),
)


def _file_records(layer: Layer, plain: bytes) -> tuple[FileRecord, ...]:
    offsets: dict[str, int] = {}
    if layer.kind == "tar" and layer.raw is None:
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            offsets = {member.name: member.offset_data for member in archive}
    return tuple(
        FileRecord(
            path, len(content), 0o644, Digest("sha256", hashlib.sha256(content).hexdigest()), offsets.get(path, 0)
        )
        for path, content in layer.files.items()
        if not path.endswith("/")
    )


def _put_layer(store: MemoryStore, media_type: str, raw: bytes, annotations: Mapping[str, str]) -> Descriptor:
    desc = Descriptor.of(raw, media_type, annotations)
    put(store, desc, raw)
    return desc
