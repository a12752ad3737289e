"""Config, manifest and layer annotations of both formats. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlkit.packing.layer_types import CLASSES_TO_ANNOTATE
from mlkit.packing.plan import PackOptions, PlannedLayer
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.kitfile import Kitfile
from mlkit.spec.media_types import (
    CLASS,
    CREATED,
    DESCRIPTION,
    FILE_METADATA,
    FILE_UNTESTED,
    FILEPATH,
    KIT,
    KITOPS_KITFILE,
    KITOPS_SUBTYPE,
    LICENSES,
    TITLE,
    VERSION,
    Class,
)

_REGULAR_FILE = 48  # ord("0"), the tar type flag that the Go readers of these annotations compare with
_DIRECTORY = 53  # ord("5")
_EPOCH = "1970-01-01T00:00:00Z"  # the specification wants the field; a constant keeps the digest reproducible
_ARCHIVE_SUFFIX = {"none": "tar", "gzip": "tar.gz", "zstd": "tar.zst"}


def modelpack_config(kitfile: Kitfile, diff_ids: Sequence[Digest]) -> bytes:
    """The config of a ModelPack (model-spec, docs/config.md), with what the Kitfile says and no more."""
    package, model = kitfile.package, kitfile.model
    licence = package.license or (model.license if model else None)
    descriptor = _present(
        name=package.name or (model.name if model else None),
        title=package.name,
        version=package.version or (model.version if model else None),
        description=package.description or (model.description if model else None),
        authors=list(package.authors) or None,
        licenses=[licence] if licence else None,
    )
    return render_json(
        {
            "descriptor": descriptor,
            "config": _present(format=model.format if model else None, **_told(model.parameters if model else None)),
            "modelfs": {"type": "layers", "diffIds": [str(diff_id) for diff_id in diff_ids]},
        }
    )


def kitops_config(view: dict[str, Any]) -> bytes:
    """The config of a ModelKit: the Kitfile as other tools see it."""
    return render_json(view)


def manifest_annotations(
    kitfile: Kitfile, options: PackOptions, *, view: dict[str, Any], document: Digest
) -> dict[str, str]:
    """What a registry's page and other tools read without opening the config; the caller's own annotations win."""
    package = kitfile.package
    told = {
        TITLE: package.name,
        VERSION: package.version,
        DESCRIPTION: package.description,
        LICENSES: package.license,
        CREATED: options.created,
    }
    return {
        **{name: text for name, text in told.items() if text},
        **options.annotations,
        KIT: str(document),
        KITOPS_KITFILE: render_json(view).decode("utf-8"),
    }


def layer_annotations(layers: Sequence[PlannedLayer]) -> tuple[dict[str, str], ...]:
    """The annotations of every layer, in order; titles differ from each other.

    A title is the name under which `oras pull` and CRI-O put the layer, so the title of a tar must be a file beside
    what raw layers put into the directory of the same name.
    """
    taken = {layer.path for layer in layers if layer.kind == "raw"}
    return tuple(_annotations(layer, taken) for layer in layers)


def _annotations(layer: PlannedLayer, taken: set[str]) -> dict[str, str]:
    annotations = {
        TITLE: layer.path if layer.kind == "raw" else _archive_title(layer, taken),
        FILEPATH: layer.path,
        FILE_METADATA: render_json(_metadata(layer)).decode("utf-8"),
        FILE_UNTESTED: "true",
    }
    if layer.cls in CLASSES_TO_ANNOTATE:
        annotations[CLASS] = layer.cls.value
    if layer.cls is Class.PROMPTS:
        annotations[KITOPS_SUBTYPE] = "prompt"
    return annotations


def _archive_title(layer: PlannedLayer, taken: set[str]) -> str:
    stem = layer.cls.value if layer.path == "." else layer.path
    suffix = _ARCHIVE_SUFFIX[layer.compression]
    title = f"{stem}.{suffix}"
    number = 1
    while title in taken:
        number += 1
        title = f"{stem}-{number}.{suffix}"
    taken.add(title)
    return title


def _metadata(layer: PlannedLayer) -> dict[str, Any]:
    is_file = [file.path for file in layer.files] == [layer.path]
    return {
        "name": layer.path.rpartition("/")[2],
        "mode": layer.files[0].mode if is_file else 0o755,
        "uid": 0,
        "gid": 0,
        "size": layer.size if is_file else 0,
        "mtime": _EPOCH,
        "typeflag": _REGULAR_FILE if is_file else _DIRECTORY,
    }


def _told(parameters: Any) -> dict[str, str]:
    """What `model.parameters` has of the fields that ModelPack knows. They are text there, so nothing else is taken."""
    if not isinstance(parameters, dict):
        return {}
    told = {name: parameters.get(name) for name in ("architecture", "precision", "quantization", "paramSize")}
    count = parameters.get("parameterCount")
    if told["paramSize"] is None and type(count) is int and count > 0:
        told["paramSize"] = _param_size(count)
    return {name: text for name, text in told.items() if isinstance(text, str)}


def _param_size(count: int) -> str:
    """As people name models: `8b`, `1.5b`, `350m`. Whole numbers only, so that no machine rounds differently."""
    for unit, size in (("t", 10**12), ("b", 10**9), ("m", 10**6), ("k", 10**3)):
        tenths = (count * 10 + size // 2) // size
        if tenths >= 10:
            whole, rest = divmod(tenths, 10)
            return f"{whole}.{rest}{unit}" if rest else f"{whole}{unit}"
    return str(count)


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
