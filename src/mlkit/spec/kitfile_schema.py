"""JSON Schemas of what people write, a Kitfile and a policy, from the models: what editors complete and check with.

What a schema cannot say (paths that overlap, references, names of keys) is left to the parsers.
"""

from __future__ import annotations

import ast
import inspect
import json
import types
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from mlkit.spec import kitfile, kitfile_sections
from mlkit.spec.kitfile import SCHEMA_URL, Kitfile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kitfile_schema() -> dict[str, Any]:
    """What a Kitfile may say."""
    return model_schema(Kitfile, (kitfile_sections, kitfile), identity=SCHEMA_URL)


def model_schema(top: type[BaseModel], modules: Sequence[types.ModuleType], *, identity: str) -> dict[str, Any]:
    """What a document may say that people write; `modules` have its models, and the texts under their fields."""
    schema = top.model_json_schema(by_alias=True)
    notes = {name: found for module in modules for name, found in field_notes(module)}
    for name, definition in ((top.__name__, schema), *schema["$defs"].items()):
        model: type[BaseModel] = next(getattr(module, name) for module in modules if hasattr(module, name))
        for attribute, field in model.model_fields.items():
            key = field.alias or attribute
            definition["properties"][key] = _property(
                definition["properties"][key], key in definition.get("required", ())
            )
            if attribute in notes.get(name, {}):
                definition["properties"][key]["description"] = notes[name][attribute]
    return {"$schema": DIALECT, "$id": identity, **schema}


def render_schema(schema: dict[str, Any]) -> str:
    """The text of a schema, as it stands in `schemas/`."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def field_notes(module: types.ModuleType) -> Iterator[tuple[str, dict[str, str]]]:
    """The text under each field of each class. Read from the source, so that no program pays for it when it starts."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, dict(_notes_in(node))


def _notes_in(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(node.body, node.body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


def _property(schema: dict[str, Any], is_required: bool) -> dict[str, Any]:
    """What pydantic says of a field, shorter: nothing may stand for what is absent anyway."""
    kept = {key: item for key, item in schema.items() if key not in ("title", "default", "anyOf")}
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            kept = {**choice, **kept}
    if is_required or not kept:
        return kept
    if "type" not in kept:
        return {"anyOf": [kept, {"type": "null"}]}
    of_types = kept["type"] if isinstance(kept["type"], list) else [kept["type"]]
    return {**kept, "type": [*of_types, "null"]}
