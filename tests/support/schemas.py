"""JSON Schemas of what people and other programs write and read, from the models: `python -m tests.support.schemas`.

Those of the Kitfile and of the policy are part of the program (`mlkit init --print-schema`, `mlkit policy schema`).
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tests.support.config_schemas import config_schema, kitops_kitfile_schema
from tests.support.report_schemas import report_schemas

from mlkit.api import fsck
from mlkit.lineage.exchange.openlineage import EVIDENCE_FACET
from mlkit.lineage.graph import Standing
from mlkit.serving import profile
from mlkit.spec import kit_document
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import SCHEMA_VERSION, KitDocument
from mlkit.spec.kitfile import SCHEMA_URL
from mlkit.spec.kitfile_schema import DIALECT, field_notes, kitfile_schema, render_schema
from mlkit.spec.media_types import Class
from mlkit.trust.policy_schema import policy_schema

SCHEMAS = Path(__file__).parents[2] / "schemas"

_JSON_NAMES = {"cls": "class", "diff_id": "diffId", "schema_version": "schemaVersion"}


def kit_document_schema() -> dict[str, Any]:
    """What `.mlkit/kit.json` in a kit holds. Names that are not here may follow, and are passed over."""
    notes = dict(field_notes(kit_document))
    definitions = {
        record.__name__: _record(record, notes)
        for record in (kit_document.EntryRecord, kit_document.LayerRecord, kit_document.FileRecord)
    }
    definitions["InputRecord"] = _record(kit_document.InputRecord, notes)
    document = _record(KitDocument, notes)
    document["properties"]["schemaVersion"] = {"const": SCHEMA_VERSION}
    identity = SCHEMA_URL.replace("kitfile", "kit-document")
    return {"$schema": DIALECT, "$id": identity, "title": "Kit document", **document, "$defs": definitions}


def fsck_report_schema() -> dict[str, Any]:
    """What `mlkit fsck --json` prints. Names that are not here may follow."""
    notes = dict(field_notes(fsck))
    definitions = {record.__name__: _record(record, notes) for record in (fsck.Finding, fsck.Affected)}
    for definition in definitions.values():
        _may_be_null(definition)
    identity = SCHEMA_URL.replace("kitfile", "fsck-report")
    return {
        "$schema": DIALECT,
        "$id": identity,
        "title": "Report of fsck",
        **_record(fsck.Report, notes),
        "$defs": definitions,
    }


def _may_be_null(definition: dict[str, Any]) -> None:
    """What is absent is printed as null."""
    for name, value in definition["properties"].items():
        if name not in definition["required"]:
            note = {"description": value.pop("description")} if "description" in value else {}
            definition["properties"][name] = {"anyOf": [value, {"type": "null"}], **note}
    definition["required"] = list(definition["properties"])


def profile_schema() -> dict[str, Any]:
    """The predicate that `mlkit profile --key` attests, and `profile` in what `--json` prints."""
    notes = dict(field_notes(profile))
    kinds = (profile.Level, profile.Machine, profile.Suggestion)
    definitions = {record.__name__: _record(record, notes) for record in kinds}
    document = _record(profile.Profile, notes)
    for definition in (*definitions.values(), document):
        for name, value in definition["properties"].items():
            if name not in definition["required"]:
                note = {"description": value.pop("description")} if "description" in value else {}
                definition["properties"][name] = {"anyOf": [value, {"type": "null"}], **note}
        definition["required"] = list(definition["properties"])
    identity = SCHEMA_URL.replace("kitfile", "profile")
    return {"$schema": DIALECT, "$id": identity, "title": "Profile of a kit", **document, "$defs": definitions}


def evidence_facet_schema() -> dict[str, Any]:
    """The facet `mlkit_evidence` of the inputs in exported OpenLineage events. Names that are not here may follow."""
    absent = {"type": "null"}
    properties = {
        "_producer": {"type": "string", "format": "uri", "description": "What made the event."},
        "_schemaURL": {"const": EVIDENCE_FACET},
        "role": {"anyOf": [{"type": "string"}, absent], "description": "What the input was for, as the kit says."},
        "standing": {"enum": [str(one) for one in Standing], "description": "How well it is founded."},
        "where": {
            "anyOf": [{"type": "string"}, absent],
            "description": "What says so: `kit`, or the predicate type of a statement; null where nobody says so.",
        },
        "digest": {
            "anyOf": [{"type": "string"}, absent],
            "description": "Of the manifest of that kit or statement; the address of what an imported event made.",
        },
        "signedBy": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Ids of trusted keys that signed it: base64 of the sha256 of the public key (SPKI, DER).",
        },
    }
    return {
        "$schema": DIALECT,
        "$id": EVIDENCE_FACET,
        "title": "Facet mlkit_evidence of exported OpenLineage events",
        "type": "object",
        "description": "Why an input is said to be one; a dataset facet of OpenLineage.",
        "properties": properties,
        "required": list(properties),
    }


def render() -> dict[str, str]:
    """Each file of `schemas/`, and the text that belongs into it."""
    schemas = {
        "kitfile-v1.json": kitfile_schema(),
        "kit-document-v1.json": kit_document_schema(),
        "fsck-report-v1.json": fsck_report_schema(),
        "profile-v1.json": profile_schema(),
        "policy-v1.json": policy_schema(),
        "config-v1.json": config_schema(),
        "kitops-kitfile-v1.json": kitops_kitfile_schema(),
        "openlineage-evidence-v1.json": evidence_facet_schema(),
        **report_schemas(),
    }
    return {name: render_schema(schema) for name, schema in schemas.items()}


def main() -> None:
    """Write every schema."""
    SCHEMAS.mkdir(exist_ok=True)
    for name, text in render().items():
        (SCHEMAS / name).write_text(text, encoding="utf-8")


def _record(record: type, notes: dict[str, dict[str, str]]) -> dict[str, Any]:
    hints = get_type_hints(record)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in dataclasses.fields(record):
        name = _JSON_NAMES.get(field.name, field.name)
        kind, is_optional = _without_none(hints[field.name])
        properties[name] = _value(kind, field.name)
        if field.name in notes.get(record.__name__, {}):
            properties[name]["description"] = notes[record.__name__][field.name]
        if not is_optional and field.name != "facts":
            required.append(name)
    return {"type": "object", "description": inspect.getdoc(record), "properties": properties, "required": required}


def _value(kind: Any, name: str) -> dict[str, Any]:
    if name == "facts":
        text = {"type": "string", "maxLength": kit_document.TEXT_LIMIT}
        return {"type": "object", "additionalProperties": text, "maxProperties": kit_document.FACTS_LIMIT}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _value(get_args(kind)[0], name)}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if kind is Class:
        return {"enum": [str(cls) for cls in Class]}
    if kind is Digest:
        return {"type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"}
    if name == "mode":
        return {"enum": [0o644, 0o755]}
    if kind is bool:
        return {"type": "boolean"}
    if kind is Path:
        return {"type": "string"}
    if kind is float:
        return {"type": "number", "minimum": 0}
    if kind is int:
        return {"type": "integer", "minimum": 0}
    return {"type": "string"} if kind is str else {"$ref": f"#/$defs/{kind.__name__}"}


def _without_none(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) in (Union, types.UnionType):
        (rest,) = [argument for argument in get_args(kind) if argument is not type(None)]
        return rest, True
    return kind, False


if __name__ == "__main__":
    main()
