"""The Kitfile as other tools see it: one entry per layer, no key that KitOps does not know. Nothing here does I/O.

`kit unpack` finds the layer of each entry by the digest in it, so an entry that was split into several layers becomes
several entries that restore the same tree. The classes that KitOps has no section for, parameters and deployment, are
entries of `code`: it writes those back to the path they came from and asks nothing of their content.
mlkit itself reads the author's Kitfile from the kit document instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from mlkit.spec.digest import Digest
from mlkit.spec.kitfile import Kitfile, kitfile_json, model_reference
from mlkit.spec.media_types import Class

_PACKAGE_KEYS = ("name", "version", "description", "license", "authors")
_MODEL_KEYS = ("name", "license", "framework", "format", "version", "description", "parameters")
_PART_KEYS = ("name", "license", "type")
_DATASET_KEYS = ("name", "remotePath", "remoteHash", "description", "license", "parameters")


@dataclass(frozen=True, slots=True)
class ViewedLayer:
    """What the view says about a layer."""

    cls: Class
    entry: str
    """Id of the entry it belongs to, for example `datasets[1]`."""
    path: str
    digest: Digest
    diff_id: Digest


def render_view(kitfile: Kitfile, layers: Sequence[ViewedLayer]) -> dict[str, Any]:
    """The JSON form, with `digest` and `diffId` in every entry that has a layer."""
    own = kitfile_json(kitfile)
    view: dict[str, Any] = {"manifestVersion": own.get("manifestVersion", "1.0.0")}
    view["package"] = _picked(own.get("package", {}), _PACKAGE_KEYS)
    by_class: dict[Class, list[ViewedLayer]] = {cls: [] for cls in Class}
    for layer in layers:
        by_class[layer.cls].append(layer)
    model = _model(kitfile, own, by_class[Class.MODEL])
    if model:
        view["model"] = model
    for cls in Class:
        section, items = _section(cls, own, by_class[cls])
        if items:
            view.setdefault(section, []).extend(items)
    return view


def _model(kitfile: Kitfile, own: dict[str, Any], layers: list[ViewedLayer]) -> dict[str, Any]:
    described = own.get("model", {})
    model = _picked(described, _MODEL_KEYS)
    rest = list(layers)
    if model_reference(kitfile) is not None:
        model["path"] = described["path"]
    elif rest:
        first = rest.pop(0)
        model.update(_place(first))
    else:
        # `kit` looks for a layer of whatever `model` there is.
        return {}
    parts = [_part(own, layer) for layer in rest]
    names = _Names("part")
    for part in parts:
        part["name"] = names.unique(part.get("name"))
    return {**model, "parts": parts} if parts else model


def _part(own: dict[str, Any], layer: ViewedLayer) -> dict[str, Any]:
    if layer.entry == "model":
        return {"name": layer.path.rpartition("/")[2], **_place(layer)}
    return {**_picked(_described(own, layer.entry), _PART_KEYS), **_place(layer)}


def _section(cls: Class, own: dict[str, Any], layers: list[ViewedLayer]) -> tuple[str, list[dict[str, Any]]]:
    match cls:
        case Class.MODEL:
            return "model", []
        case Class.DATASETS:
            remote = [_remote(item) for item in own.get("datasets", []) if "remotePath" in item]
            return "datasets", [*_named(own, layers, _DATASET_KEYS, "dataset"), *remote]
        case Class.PARAMETERS | Class.DEPLOYMENT | Class.CODE:
            return "code", [
                {**_picked(_described(own, one.entry), ("description", "license")), **_place(one)} for one in layers
            ]
        case Class.DOCS:
            return "docs", _unnamed(own, layers, ("description",))
        case Class.PROMPTS:
            return "prompts", _named(own, layers, ("name", "description"), "prompt")
        case Class.MCPSERVERS:
            return "mcpServers", _named(own, layers, ("name", "description"), "server")
        case _:
            assert_never(cls)


def _named(
    own: dict[str, Any], layers: list[ViewedLayer], keys: tuple[str, ...], fallback: str
) -> list[dict[str, Any]]:
    names = _Names(fallback)
    items = _unnamed(own, layers, keys)
    for item in items:
        item["name"] = names.unique(item.get("name"))
    return items


def _unnamed(own: dict[str, Any], layers: list[ViewedLayer], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{**_picked(_described(own, layer.entry), keys), **_place(layer)} for layer in layers]


def _remote(item: dict[str, Any]) -> dict[str, Any]:
    return _picked(item, ("path", *_DATASET_KEYS))


def _place(layer: ViewedLayer) -> dict[str, Any]:
    return {"path": layer.path, "digest": str(layer.digest), "diffId": str(layer.diff_id)}


def _described(own: dict[str, Any], entry_id: str) -> dict[str, Any]:
    """The JSON of the entry with an id such as `model.parts[0]`."""
    found: Any = own
    for step in entry_id.split("."):
        name, bracket, number = step.partition("[")
        found = found.get(name, {})
        if bracket:
            found = found[int(number.removesuffix("]"))]
    return found if isinstance(found, dict) else {}


def _picked(item: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: item[key] for key in keys if key in item}


class _Names:
    """Names that differ from each other: the first of an entry keeps its own, further ones are numbered."""

    def __init__(self, fallback: str) -> None:
        self._fallback = fallback
        self._taken: set[str] = set()

    def unique(self, name: str | None) -> str:
        wanted = name or self._fallback
        number = 1
        candidate = wanted
        while candidate in self._taken:
            number += 1
            candidate = f"{wanted}-{number}"
        self._taken.add(candidate)
        return candidate
