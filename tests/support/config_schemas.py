"""JSON Schemas of settings files, and of the Kitfiles that KitOps takes, too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from mlkit.api import setting_values, settings
from mlkit.archive.limits import Limits
from mlkit.spec.kitfile_schema import DIALECT, field_notes, kitfile_schema

_LIST = {"type": "array", "items": {"type": "string"}}
_TEXT_OR_LIST = {"anyOf": [_LIST, {"type": "string", "description": "Several, separated by commas."}]}
_MIRRORS = {
    "type": "object",
    "properties": {"mirrors": _LIST, "mirror_tags": {"type": "boolean"}},
    "additionalProperties": False,
}
_AMOUNT = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+ *[KkMmGg]?"}]}
# By the function that reads the value.
_KINDS: dict[Callable[..., Any], dict[str, Any]] = {
    setting_values.read_text: {"type": "string"},
    setting_values.read_texts: _TEXT_OR_LIST,
    setting_values.read_path: {"type": "string"},
    setting_values.read_paths: _TEXT_OR_LIST,
    setting_values.read_boolean: {"type": "boolean"},
    setting_values.read_count: {"type": "integer", "minimum": 1, "maximum": 64},
    setting_values.read_progress: {"enum": ["auto", "plain", "none"]},
    setting_values.read_rate: {"type": ["string", "integer"], "minimum": 1024},
    setting_values.read_ranges: {"anyOf": [{"enum": ["auto", "off"]}, {"type": "integer", "minimum": 2, "maximum": 8}]},
    setting_values.read_budget: {"type": "integer", "minimum": 0, "maximum": 86400},
    setting_values.read_hook: {
        "anyOf": [
            {"type": "string", "pattern": "^https?://"},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ]
    },
    setting_values.read_limits: {
        "type": "object",
        "properties": {one.name: _AMOUNT for one in dataclasses.fields(Limits)},
        "additionalProperties": False,
    },
    setting_values.read_registries: {"type": "object", "additionalProperties": _MIRRORS},
}
_PLACES = {"no project": "Not in a project's file.", "user file": "In the user's file only."}

# What mlkit adds to KitOps' Kitfile, by the definition that has it.
_OWN = {
    "Kitfile": ("parameters", "deployment", "inputs", "checks"),
    "Part": ("version",),
    "CodeEntry": ("name", "version"),
    "DatasetEntry": ("version",),
    "DocsEntry": ("version",),
    "PromptEntry": ("version",),
    "McpServerEntry": ("version",),
}
_OWN_SECTIONS = ("ParametersEntry", "DeploymentEntry", "InputEntry", "CheckEntry")


def config_schema() -> dict[str, Any]:
    """What `~/.config/mlkit/config.toml` and a project's `.mlkit.toml` may say."""
    notes = dict(field_notes(settings))["Settings"]
    properties = {}
    for setting in settings._settings({}, None):
        if setting.place == "environment":
            continue
        told = [notes.get(setting.name), _PLACES.get(setting.place)]
        description = " ".join(text for text in told if text)
        kind = _KINDS.get(setting.read, {})  # a setting of a kind that is new here may be anything
        properties[setting.name] = {**kind, **({"description": description} if description else {})}
    return {
        "$schema": DIALECT,
        "$id": "https://mlkit.dev/schemas/config-v1.json",
        "title": "mlkit settings",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def kitops_kitfile_schema() -> dict[str, Any]:
    """The Kitfiles that KitOps 1.15 takes and mlkit, too: the schema of ours without what is ours alone."""
    schema = kitfile_schema()
    definitions = {name: value for name, value in schema["$defs"].items() if name not in _OWN_SECTIONS}
    for name, own in _OWN.items():
        definition = schema if name == "Kitfile" else definitions[name]
        definition["properties"] = {key: value for key, value in definition["properties"].items() if key not in own}
    return {
        **schema,
        "$id": "https://mlkit.dev/schemas/kitops-kitfile-v1.json",
        "title": "Kitfile of KitOps",
        "description": "What KitOps and mlkit read alike.",
        "$defs": definitions,
    }
