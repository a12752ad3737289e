"""Which media type a layer has, by format and class. Nothing here does I/O."""

from __future__ import annotations

from typing import Literal

from mlkit.spec.kit_document import Compression, Kind
from mlkit.spec.media_types import KITOPS_LAYER_PREFIX, MODELPACK_LAYER_PREFIX, Class

Format = Literal["modelpack", "kitops"]

_MODELPACK_TYPES = {
    Class.DATASETS: "dataset",
    # Two classes that no format knows go where other tools expect such files; the class annotation tells them apart.
    Class.PARAMETERS: "weight.config",
    Class.DEPLOYMENT: "code",
    Class.CODE: "code",
    Class.DOCS: "doc",
    Class.PROMPTS: "code",
    Class.MCPSERVERS: "code",
}
_KITOPS_TYPES = {
    Class.DATASETS: "dataset",
    # As other tools see them these are entries of `code`, which `kit unpack` writes to the path they came from.
    Class.PARAMETERS: "code",
    Class.DEPLOYMENT: "code",
    Class.CODE: "code",
    Class.DOCS: "docs",
    Class.PROMPTS: "code",
    Class.MCPSERVERS: "mcpb",
}
CLASSES_TO_ANNOTATE = frozenset({Class.PARAMETERS, Class.DEPLOYMENT, Class.PROMPTS, Class.MCPSERVERS})
"""Classes that no media type tells."""


def layer_media_type(
    to: Format, cls: Class, *, kind: Kind, compression: Compression, holds_weights: bool, is_main_model: bool
) -> str:
    """The media type of a layer; `is_main_model` is the one layer that KitOps calls the model, others being parts."""
    suffix = kind if compression == "none" else f"{kind}+{compression}"
    if to == "modelpack":
        base = ("weight" if holds_weights else "weight.config") if cls is Class.MODEL else _MODELPACK_TYPES[cls]
        return f"{MODELPACK_LAYER_PREFIX}{base}.v1.{suffix}"
    base = ("model" if is_main_model else "modelpart") if cls is Class.MODEL else _KITOPS_TYPES[cls]
    return f"{KITOPS_LAYER_PREFIX}{base}.v1.{suffix}"


def document_media_type(to: Format) -> str:
    """The media type of the kit document's layer."""
    return f"{MODELPACK_LAYER_PREFIX}doc.v1.raw" if to == "modelpack" else f"{KITOPS_LAYER_PREFIX}docs.v1.raw"
