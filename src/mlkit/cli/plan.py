"""What `mlkit pack --dry-run` shows: the kit that would be written, before it is."""

from __future__ import annotations

from typing import Any

from mlkit.api.packing import Prepared
from mlkit.cli import render


def plan_document(prepared: Prepared) -> dict[str, Any]:
    """The layers with the files in each, sizes in bytes."""
    plan = prepared.plan
    layers = [
        {
            "entry": layer.entry.id,
            "path": layer.path,
            "class": layer.cls,
            "kind": layer.kind,
            "compression": layer.compression,
            "media_type": layer.media_type,
            "size": layer.size,
            "files": [{"path": file.path, "size": file.size} for file in layer.files],
        }
        for layer in plan.layers
    ]
    return {
        "dry_run": True,
        "size": plan.size,
        "files": plan.file_count,
        "layers": layers,
        "generated": prepared.generated.text if prepared.generated else None,
        "notes": prepared.notes,
        "ignored_secrets": plan.ignored_secrets,
    }


def plan_table(prepared: Prepared) -> str:
    """A line for each layer, and what they come to."""
    plan = prepared.plan
    rows = [
        (layer.entry.id, layer.kind, str(len(layer.files)), render.size(layer.size), render.cell(layer.path))
        for layer in plan.layers
    ]
    total = (
        f"{render.counted(plan.file_count, 'file')} in {render.counted(len(rows), 'layer')}, {render.size(plan.size)}"
    )
    headings = ("ENTRY", "KIND", "FILES", "SIZE", "PATH")
    return f"{render.table(headings, rows, right=frozenset({'FILES', 'SIZE'}))}\n{total}"
