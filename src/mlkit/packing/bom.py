"""A kit as a bill of materials: CycloneDX 1.6 or 1.7, as JSON. Nothing here does I/O.

Everything in it comes out of the kit's documents, so it is made without fetching layers, and the same kit gives the
same bytes wherever it lies and whatever it is called there. No clock: when it was made says whoever signs it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from urllib.parse import quote

from mlkit.packing.kit import Kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord, InputRecord
from mlkit.spec.kitfile import model_reference, remote_entries
from mlkit.spec.licence_expression import licences_in
from mlkit.spec.media_types import CREATED, Class
from mlkit.spec.spdx_names import SPDX_NAMES

SpecVersion = Literal["1.6", "1.7"]

FILES_LISTED = 256
"""Files of one entry that are listed one by one; of an entry with more its layers are, each with its own digest."""

_ALGORITHMS = {"sha256": "SHA-256", "sha512": "SHA-512"}
_TYPES = {
    Class.MODEL: "machine-learning-model",
    Class.DATASETS: "data",
    Class.PARAMETERS: "data",
    Class.DEPLOYMENT: "data",
    Class.PROMPTS: "data",
    Class.CODE: "application",
    Class.DOCS: "file",
    Class.MCPSERVERS: "application",
}
_DATA_TYPES = {
    Class.DATASETS: "dataset",
    Class.PARAMETERS: "configuration",
    Class.DEPLOYMENT: "configuration",
    Class.PROMPTS: "definition",
}
_KIT_REF = "kit"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x20]+")
_NOT_IN_PURL = re.compile(r"[^a-z0-9._-]+")
_SPDX = {name.lower(): name for name in SPDX_NAMES}
_OPERATOR = re.compile(r" (?:AND|OR|WITH) ", re.IGNORECASE)
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}(?:Z|[+-][0-9]{2}:[0-9]{2})")


def bill_of_materials(kit: Kit, *, version: str, spec_version: SpecVersion = "1.6") -> dict[str, Any]:
    """The document; `version` is that of mlkit, which is named as the tool."""
    digest = kit.manifest.descriptor.digest
    components = [*_entries(kit), *_remote_datasets(kit), *_inputs(kit)]
    refs = [component["bom-ref"] for component in components]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"https://mlkit.dev/bom/{spec_version}/{digest}")
    created = kit.manifest.annotations.get(CREATED, "")
    return _present(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{spec_version}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": spec_version,
            "serialNumber": f"urn:uuid:{identity}",
            "version": 1,
            "metadata": _present(
                {
                    "timestamp": created if _RFC3339.fullmatch(created) else None,
                    "tools": {"components": [{"type": "application", "name": "mlkit", "version": version}]},
                    "component": _kit(kit),
                }
            ),
            "components": components,
            "dependencies": [{"ref": _KIT_REF, "dependsOn": sorted(refs)}, *_model_depends_on(kit, refs)],
        }
    )


def _kit(kit: Kit) -> dict[str, Any]:
    package, digest = kit.kitfile.package, kit.manifest.descriptor.digest
    name = package.name or (kit.kitfile.model.name if kit.kitfile.model else None) or "kit"
    slug = _NOT_IN_PURL.sub("-", name.lower()).strip("-.") or "kit"
    return _present(
        {
            "type": "container",
            "bom-ref": _KIT_REF,
            "name": name,
            "version": package.version,
            "description": package.description,
            "authors": [{"name": author} for author in package.authors],
            "hashes": _hashes(digest),
            "licenses": _licences(package.license),
            "purl": f"pkg:oci/{slug}@{quote(str(digest), safe='')}",
        }
    )


def _entries(kit: Kit) -> Iterator[dict[str, Any]]:
    has_model = False
    for entry in kit.entries:
        if entry.id.startswith("model.parts["):
            # The parts of a model are in it; where it has no files of its own, they are all there is.
            continue
        has_model = has_model or entry.id == "model"
        yield _model(kit, entry) if entry.id == "model" else _component(kit, entry)
    if not has_model and (kit.kitfile.model is not None):
        yield _model(kit, None)


def _component(kit: Kit, entry: EntryRecord) -> dict[str, Any]:
    kind = _DATA_TYPES.get(entry.cls)
    name = entry.name or entry.path
    return _present(
        {
            "type": _TYPES[entry.cls],
            "bom-ref": entry.id,
            "name": name,
            "version": entry.version,
            "description": entry.description,
            "licenses": _licences(_licence_at(kit, entry.id)),
            "hashes": _only_hash(kit, entry.id),
            "components": _files(kit, entry.id),
            "data": [_present({"type": kind, "name": name, "description": entry.description})] if kind else None,
            "properties": _properties({"class": str(entry.cls), "path": entry.path}),
        }
    )


def _model(kit: Kit, entry: EntryRecord | None) -> dict[str, Any]:
    model = kit.kitfile.model
    parameters = model.parameters if model is not None and isinstance(model.parameters, dict) else {}
    told = {
        name: parameters[name]
        for name in ("parameterCount", "precision", "quantization")
        if isinstance(parameters.get(name), str | int)
    }
    named = (model.name if model else None) or kit.kitfile.package.name or "model"
    parts = [one for one in kit.entries if one.id.startswith("model.parts[")]
    return _present(
        {
            "type": "machine-learning-model",
            "bom-ref": "model",
            "name": named,
            "version": (model.version if model else None) or (entry.version if entry else None),
            "description": model.description if model else None,
            "licenses": _licences(model.license if model else None),
            "hashes": _only_hash(kit, "model"),
            "components": [*_files(kit, "model"), *(_part(kit, part) for part in parts)],
            "pedigree": {"ancestors": ancestors} if (ancestors := list(_ancestors(kit))) else None,
            "modelCard": _model_card(kit, parameters),
            "properties": _properties(
                {
                    "class": str(Class.MODEL),
                    "path": entry.path if entry else None,
                    "format": model.format if model else None,
                    "framework": model.framework if model else None,
                    **told,
                }
            ),
        }
    )


def _part(kit: Kit, part: EntryRecord) -> dict[str, Any]:
    return _present(
        {
            "type": "file",
            "bom-ref": part.id,
            "name": part.name or part.path,
            "version": part.version,
            "licenses": _licences(_licence_at(kit, part.id)),
            "hashes": _only_hash(kit, part.id),
            "components": _files(kit, part.id),
            "properties": _properties({"class": str(Class.MODEL), "path": part.path}),
        }
    )


def _model_card(kit: Kit, parameters: dict[str, Any]) -> dict[str, Any]:
    architecture = parameters.get("architecture")
    refs = [
        *(entry.id for entry in kit.entries if entry.cls is Class.DATASETS),
        *(entry.id for entry, _, _ in remote_entries(kit.kitfile)),
        *(_input_ref(at) for at, record in _named_inputs(kit) if record.role == "dataset"),
    ]
    found = _present(
        {
            "modelArchitecture": architecture if isinstance(architecture, str) else None,
            "datasets": [{"ref": ref} for ref in refs],
        }
    )
    return {"modelParameters": found}


def _ancestors(kit: Kit) -> Iterator[dict[str, Any]]:
    """What the model was made from: pinned when the kit was packed, or as the Kitfile names it."""
    told = set()
    for _, record in _named_inputs(kit):
        if record.role in ("base-model", "adapter-base"):
            told.add((record.ref or "").partition("@")[0])
            yield _input_component(record, "machine-learning-model")
    reference = model_reference(kit.kitfile)
    if reference is not None and str(reference).partition("@")[0] not in told:
        yield _input_component(InputRecord("base-model", ref=str(reference)), "machine-learning-model")


def _remote_datasets(kit: Kit) -> Iterator[dict[str, Any]]:
    for entry, place, told in remote_entries(kit.kitfile):
        name = entry.name or entry.path
        yield _present(
            {
                "type": "data",
                "bom-ref": entry.id,
                "name": name,
                "version": entry.version,
                "description": entry.description,
                "licenses": _licences(entry.license),
                "externalReferences": _places(place),
                "data": [{"type": "dataset", "name": name}],
                "properties": _properties(
                    {"class": str(entry.cls), "path": entry.path, "remotePath": place, "remoteHash": told}
                ),
            }
        )


def _inputs(kit: Kit) -> Iterator[dict[str, Any]]:
    """What else the kit was made from; base models are ancestors of the model, and not here."""
    for at, record in _named_inputs(kit):
        if record.role not in ("base-model", "adapter-base"):
            kind = "data" if record.role in ("dataset", "other") else "application"
            yield {"bom-ref": _input_ref(at), **_input_component(record, kind)}


def _input_component(record: InputRecord, kind: str) -> dict[str, Any]:
    place = record.ref or record.uri
    name = record.name or place or (str(record.digest) if record.digest else record.role)
    return _present(
        {
            "type": kind,
            "name": name,
            "hashes": _hashes(record.digest) if record.digest else None,
            "externalReferences": _places(place, kind="vcs" if record.role == "code" else "distribution"),
            "data": [{"type": "dataset", "name": name}] if kind == "data" else None,
            "properties": _properties(
                {"role": record.role, "ref": record.ref, "uri": record.uri, **dict(record.facts)}
            ),
        }
    )


def _named_inputs(kit: Kit) -> tuple[tuple[int, InputRecord], ...]:
    """The inputs that the kit document tells, with their place; those that are entries of the kit are told there."""
    records = kit.document.inputs if kit.document else ()
    remote = {place for _, place, _ in remote_entries(kit.kitfile)}
    return tuple(
        (at, record)
        for at, record in enumerate(records)
        if not (record.role == "dataset" and record.ref and record.ref.partition("@")[0] in remote)
    )


def _input_ref(at: int) -> str:
    return f"inputs[{at}]"


def _model_depends_on(kit: Kit, refs: Iterable[str]) -> Iterator[dict[str, Any]]:
    if "model" in refs:
        used = [ref["ref"] for ref in _model_card(kit, {})["modelParameters"].get("datasets", ())]
        yield {"ref": "model", "dependsOn": sorted(used)}


def _files(kit: Kit, entry: str) -> list[dict[str, Any]]:
    layers = _layers(kit, entry)
    files = [file for layer in layers for file in layer.files or ()]
    if len(files) <= FILES_LISTED and all(layer.files is not None for layer in layers):
        if len(files) == 1:
            return []  # the entry is that file
        return [{"type": "file", "name": file.path, "hashes": _hashes(file.digest)} for file in files]
    return [
        _present(
            {
                "type": "file",
                "name": layer.path,
                "hashes": _hashes(layer.desc.digest),
                "properties": _properties(
                    {"layer": "true", "files": None if layer.files is None else len(layer.files)}
                ),
            }
        )
        for layer in layers
    ]


def _only_hash(kit: Kit, entry: str) -> list[dict[str, str]] | None:
    files = [file for layer in _layers(kit, entry) for file in layer.files or ()]
    return _hashes(files[0].digest) if len(files) == 1 else None


def _layers(kit: Kit, entry: str) -> list[KitLayer]:
    return [layer for layer in kit.layers if layer.entry == entry]


def _licence_at(kit: Kit, address: str) -> str | None:
    """The licence of an entry by its address in the Kitfile."""
    found: Any = kit.kitfile
    for name, at in re.findall(r"([A-Za-z]+)(?:\[([0-9]+)\])?", address):
        found = getattr(found, "mcp_servers" if name == "mcpServers" else name, None)
        if at and found is not None:
            found = found[int(at)] if int(at) < len(found) else None
    return getattr(found, "license", None)


def _licences(text: str | None) -> list[dict[str, Any]] | None:
    if not text:
        return None
    if _OPERATOR.search(text) and licences_in(text) != (text,):
        return [{"expression": text}]
    known = _SPDX.get(text.lower())
    return [{"license": {"id": known} if known else {"name": text}}]


def _places(place: str | None, *, kind: str = "distribution") -> list[dict[str, Any]] | None:
    return [{"type": kind, "url": place}] if place and _URL.fullmatch(place) else None


def _hashes(digest: Digest) -> list[dict[str, str]]:
    return [{"alg": _ALGORITHMS[digest.algorithm], "content": digest.hex}]


def _properties(told: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"mlkit:{name}", "value": str(value)} for name, value in told.items() if value not in (None, "")]


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, ())}
