"""A layer of a kit, and what its media type tells. Nothing here does I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from mlkit.archive.names import check_name, shown
from mlkit.errors import UnsafeError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import Compression, FileRecord, Kind
from mlkit.spec.media_types import CLASS, FILEPATH, KITOPS_SUBTYPE, LEGACY_FILEPATH, Class

_MODELPACK = re.compile(
    r"application/vnd\.(?:cncf|cnai)\.model\.(weight|weight\.config|dataset|code|doc)\.v1\.(raw|tar)(?:\+(gzip|zstd))?"
)
_KITOPS = re.compile(
    r"application/vnd\.kitops\.modelkit\.(model|modelpart|dataset|code|docs|mcpb)\.v1\.(raw|tar)(?:\+(gzip|zstd))?"
)
_CLASSES = {
    "weight": Class.MODEL,
    "weight.config": Class.MODEL,
    "model": Class.MODEL,
    "modelpart": Class.MODEL,
    "dataset": Class.DATASETS,
    "code": Class.CODE,
    "doc": Class.DOCS,
    "docs": Class.DOCS,
    "mcpb": Class.MCPSERVERS,
}
# KitOps packs prompts as code layers with this subtype.
_SUBTYPES = {"prompt": Class.PROMPTS}


@dataclass(frozen=True, slots=True)
class KitLayer:
    """One layer with content for the user's tree; the kit document's own layer is none."""

    desc: Descriptor
    kind: Kind
    compression: Compression
    cls: Class
    entry: str
    """The id of the entry that the layer belongs to."""
    path: str
    """A raw layer's file, a tar layer's entry path; kit-relative."""
    files: tuple[FileRecord, ...] | None
    """None where nobody knows before the layer is read: in tar layers of other tools, and compressed raw ones."""
    diff_id: Digest | None = None
    """Digest of the uncompressed layer, where the kit tells it."""
    root: str = "."
    """The folder that names in a tar layer are relative to; only kits of KitOps before 0.5 have another than "."."""
    mode: int = 0o644
    """Of a raw layer's file where `files` is None."""
    only: str | None = None
    """The one directory of a tar layer that counts; only container images have what lies elsewhere."""

    @property
    def size(self) -> int:
        """Bytes that its files take on disk; the layer's own size where that is not known."""
        return self.desc.size if self.files is None else sum(file.size for file in self.files)

    def place(self, name: str) -> str:
        """Where a name in a tar layer lands in the kit.

        Raises: UnsafeError for one outside of the layer's path, which would come in under the name of another entry;
        LimitError.
        """
        path = name if self.root == "." else check_name(f"{self.root}/{name}")
        # The folders above it are made anyway.
        if lies_in(path, self.path) or lies_in(self.path, path):
            return path
        raise UnsafeError(f"layer {self.desc.digest}: {shown(path)} lies outside of {shown(self.path)}, its path")


def lies_in(path: str, folder: str) -> bool:
    """By component: `a` does not hold `ab`; `.` holds everything."""
    return folder in (".", path) or path.startswith(f"{folder}/")


@dataclass(frozen=True, slots=True)
class LayerType:
    """What the media type of a layer says, with the annotations that refine it."""

    role: str
    """The word of the standard: `weight`, `weight.config`, `modelpart`, `dataset`, …"""
    cls: Class
    kind: Kind
    compression: Compression


def parse_layer_type(desc: Descriptor) -> LayerType | None:
    """The type of a layer of ModelPack or ModelKit, legacy names included; None for any other layer."""
    found = _MODELPACK.fullmatch(desc.media_type) or _KITOPS.fullmatch(desc.media_type)
    if found is None:
        return None
    cls = _SUBTYPES.get(desc.annotations.get(KITOPS_SUBTYPE, ""), _CLASSES[found[1]])
    told = desc.annotations.get(CLASS)
    if told in tuple(Class):
        cls = Class(told)
    return LayerType(found[1], cls, cast(Kind, found[2]), cast(Compression, found[3] or "none"))


def annotated_path(desc: Descriptor) -> str | None:
    """The path that a layer's annotations tell, as written; None where they tell none."""
    return desc.annotations.get(FILEPATH, desc.annotations.get(LEGACY_FILEPATH))
