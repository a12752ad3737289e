"""What a model was made from, as far as its files name it for certain. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlkit.packing.cards import Card, is_repository
from mlkit.packing.model_configs import Adapter
from mlkit.spec.yaml_problems import quoted

_URL = re.compile(r"(?:https|hf|s3|gs|git\+https)://[A-Za-z0-9][^\s@\"'<>]{0,500}")
"""Without `@`: what a URL has in front of one may be a password."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(slots=True)
class Origins:
    """Entries for `inputs`, and what could not become one."""

    inputs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def origins(
    adapter: Adapter | None, card: Card, bases: Sequence[str], *, config: str, directories: Collection[str]
) -> Origins:
    """`config` is the path of the adapter's config, `bases` are URLs in headers, `directories` those of the tree."""
    found = Origins()
    if adapter is not None:
        _adapter_base(adapter, card, found, config=config, directories=directories)
    role = "adapter-base" if adapter is not None or card.relation == "adapter" else "base-model"
    for name in card.bases:
        _add(found, role, f"hf://{name}", name)
    for url in bases:
        if _URL.fullmatch(url):
            name = url.removeprefix("https://huggingface.co/")
            _add(found, role, f"hf://{name}" if name != url and is_repository(name) else url, name)
    for name in card.datasets:
        _add(found, "dataset", f"hf://datasets/{name}", name)
    return found


def _adapter_base(adapter: Adapter, card: Card, found: Origins, *, config: str, directories: Collection[str]) -> None:
    base = adapter.base
    if base is None:
        found.notes.append(f"{config}: names no base model; add it to inputs with role adapter-base")
    elif base in card.bases:
        pinned = f"@{adapter.revision}" if adapter.revision and _COMMIT.fullmatch(adapter.revision) else ""
        _add(found, "adapter-base", f"hf://{base}{pinned}", base)
    elif _URL.fullmatch(base):
        _add(found, "adapter-base", base, base)
    elif base.strip("./") in directories:
        found.notes.append(f"{config}: the base model {quoted(base)} is a directory of this kit")
    else:
        # A path of the machine that trained it looks the same as a name on the hub.
        advice = f"if it is on Hugging Face, add hf://{base}" if is_repository(base) else "add what it stands for"
        found.notes.append(
            f"{config}: names the base model {quoted(base)}, which may be a path; {advice} to inputs, role adapter-base"
        )


def _add(found: Origins, role: str, uri: str, name: str) -> None:
    if all(name != item["name"] for item in found.inputs if item["role"] == role):
        found.inputs.append({"role": role, "name": name, "uri": uri})
