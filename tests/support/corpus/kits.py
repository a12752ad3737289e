"""A small kit as other tools write it, part by part, so that each part can be a lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.corpus.case import NAME, World, descriptor, put_blob, put_manifest

WEIGHT = "application/vnd.cncf.model.weight.v1"
UNPACK = ("unpack", NAME, "-d", "out")
Change = Callable[[dict[str, Any]], object]


def layer(world: World, raw: bytes, form: str, path: str = "model") -> dict[str, Any]:
    """Store a layer and describe it."""
    put_blob(world, raw)
    return {**descriptor(raw, f"{WEIGHT}.{form}"), "annotations": {"org.cncf.model.filepath": path}}


def kit(
    world: World,
    layers: Sequence[dict[str, Any]],
    *,
    diff_ids: Sequence[str] | None = None,
    change: Change | None = None,
    change_config: Change | None = None,
    render: Callable[[dict[str, Any]], bytes] = lambda value: json.dumps(value).encode(),
) -> None:
    """A ModelPack of these layers, under the name of the case."""
    config: dict[str, Any] = {
        "descriptor": {"name": "kit"},
        "config": {},
        "modelfs": {"type": "layers", "diffIds": list(diff_ids or [one["digest"] for one in layers])},
    }
    if change_config is not None:
        change_config(config)
    raw_config = json.dumps(config).encode()
    put_blob(world, raw_config)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": descriptor(raw_config, "application/vnd.cncf.model.config.v1+json"),
        "layers": list(layers),
    }
    if change is not None:
        change(manifest)
    put_manifest(world, render(manifest))


def tar_kit(world: World, raw: bytes, *, form: str = "tar", diff_id: str | None = None) -> Sequence[str]:
    """A kit with one archive; gives the command that unpacks it."""
    kit(world, [layer(world, raw, form)], diff_ids=[diff_id] if diff_id else None)
    return UNPACK


def raw_kit(world: World, content: bytes = b"weights", path: str = "model.bin") -> dict[str, Any]:
    """A kit with one file; gives its layer."""
    found = layer(world, content, "raw", path)
    kit(world, [found])
    return found
