"""JSON Schemas of what commands print with `--json`, from the values that they print.

Names that are not in a schema may follow in a later version of mlkit; those that are there stay.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

from mlkit.cli import render
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile_schema import DIALECT, field_notes
from mlkit.spec.reference import Reference

DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a command prints."""

    value: str
    """`module:type`, or `module:function`, of which it is the value that it gives."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What the command adds to it: schemas by name."""
    within: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What it adds to values inside, by the class of those."""


_KEY = {"type": "object", "properties": {"name": {"type": "string"}, "key_id": {"type": "string"}}}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_EVIDENCE = {
    "type": "object",
    "properties": {
        "digest": DIGEST,
        "form": {"type": "string"},
        "predicate_type": {"type": "string"},
        "signed_by": {"type": "array", "items": {"type": "string"}},
        "key_id": _TEXT_OR_NULL,
        "created": _TEXT_OR_NULL,
    },
}
_MATCHED = {**_EVIDENCE, "properties": {**_EVIDENCE["properties"], "predicate": {"type": "object"}}}  # type: ignore[dict-item]  # a schema
_BOOLEAN = {"type": "boolean"}
_BYTES = {"type": "integer", "minimum": 0}
_SETTINGS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "value": {"description": "As `config-v1.json` has it, or null; passwords are left out."},
            "source": {"type": "string", "description": "A flag, a variable, a file, or `default`."},
        },
        "required": ["name", "value", "source"],
    },
}
_TEXT = {"type": "string"}
_VERSION = {
    "type": "object",
    "properties": {
        "version": {**_TEXT, "description": "Of mlkit."},
        "python": {**_TEXT, "description": "That runs it: three numbers."},
        "platform": {**_TEXT, "description": "As Python calls it."},
    },
    "required": ["version", "python", "platform"],
}
_LISTENING = {
    "type": "object",
    "description": "On one line, when it is ready.",
    "properties": {"url": {**_TEXT, "description": "Of the registry."}},
    "required": ["url"],
}
_ANSWER = {"counts": {"type": "object", "additionalProperties": _BYTES}, "is_whole": _BOOLEAN}

REPORTS: dict[str, Report] = {
    "check": Report("mlkit.api.checking:check"),
    "copy": Report("mlkit.api.moving:Moved"),
    "attest": Report("mlkit.api.signing:Signed"),
    "deploy render": Report("mlkit.api.deploying:render"),
    "diff": Report(
        "mlkit.packing.diff:KitDiff",
        {"is_same": _BOOLEAN, "delta": {"type": "integer"}},
        within={"FileChange": {"delta": {"type": "integer"}}},
    ),
    "doctor": Report("mlkit.api.access:doctor"),
    "files": Report("mlkit.api.looking:files"),
    "history": Report("mlkit.api.release_views:history"),
    "image build": Report("mlkit.api.images:build_image"),
    "index add": Report("mlkit.api.indexes:add"),
    "index create": Report("mlkit.api.indexes:create"),
    "index list": Report("mlkit.api.indexes:show"),
    "index remove": Report("mlkit.api.indexes:remove"),
    "info": Report("mlkit.api.looking:info"),
    "init": Report("mlkit.api.packing:WrittenKitfile"),
    "inspect": Report("mlkit.api.looking:inspect"),
    "keygen": Report("mlkit.api.keygen:keygen"),
    "lineage audit": Report("mlkit.api.lineage:audit", {"report": _TEXT}, within={"Answer": _ANSWER}),
    "lineage deployed": Report("mlkit.api.lineage:deployed", within={"Answer": _ANSWER}),
    "lineage diff": Report("mlkit.api.lineage:diff", {"is_same": _BOOLEAN}),
    "lineage export": Report("mlkit.api.lineage_exchange:export"),
    "lineage index": Report("mlkit.api.lineage:index", {"is_whole": _BOOLEAN}),
    "lineage inputs": Report("mlkit.api.lineage:inputs", _ANSWER),
    "lineage record": Report("mlkit.api.recording:record_run"),
    "lineage trained-on": Report("mlkit.api.lineage:trained_on", _ANSWER),
    "lineage tree": Report("mlkit.api.lineage:tree"),
    "lineage unprovenanced": Report("mlkit.api.lineage:unprovenanced"),
    "list": Report("mlkit.api.listing:list_local"),
    "load": Report("mlkit.api.loading:load"),
    "login": Report("mlkit.api.access:login"),
    "logout": Report("mlkit.api.access:logout"),
    "mark": Report("mlkit.api.releases:mark"),
    "pack": Report("mlkit.api.packing:Packed"),
    "policy explain": Report("mlkit.trust.policy_report:PolicyReport"),
    "profile": Report("mlkit.api.profile:Profiled"),
    "promote": Report("mlkit.api.releases:promote"),
    "prune": Report(
        "mlkit.content.prune:PruneResult", {"freed_bytes": _BYTES, "young_bytes": _BYTES, "dry_run": _BOOLEAN}
    ),
    "pull": Report("mlkit.api.moving:Moved"),
    "push": Report("mlkit.api.moving:Moved"),
    "remove": Report("mlkit.api.store:remove"),
    "rollback": Report("mlkit.api.releases:rollback"),
    "save": Report("mlkit.api.saving:save"),
    "scan": Report("mlkit.trust.scan.report:ScanReport"),
    "serve": Report("mlkit.api.serve:Served"),
    "sign": Report("mlkit.api.signing:sign"),
    "status": Report("mlkit.api.release_views:status"),
    "tag": Report("mlkit.api.store:tag"),
    "unpack": Report("mlkit.api.moving:Unpacked"),
    "verify --bundle": Report("mlkit.api.bundles:VerifiedBundle"),
    "verify --dir": Report("mlkit.api.comparing:DirectoryReport"),
}
"""By the command that prints it; a flag stands for a way of asking that has an answer of its own."""

WRITTEN = {"config show": _SETTINGS, "registry serve": _LISTENING, "version": _VERSION}
"""Schemas of what is no value of the API's, by command."""


@functools.cache
def report_schemas() -> dict[str, dict[str, Any]]:
    """Each file of `schemas/` about a report, and what belongs into it."""
    made = {file_name(name): report_schema(name, report) for name, report in REPORTS.items()}
    made[file_name("verify")] = _verify_schema()
    made.update({file_name(name): _whole(name, schema, {}) for name, schema in WRITTEN.items()})
    return dict(sorted(made.items()))


def file_name(command: str) -> str:
    """`report-policy-explain-v1.json`, for a command."""
    return f"report-{command.replace(' --', '-').replace(' ', '-')}-v1.json"


def report_schema(command: str, report: Report) -> dict[str, Any]:
    """The schema of what a command prints."""
    maker = _Maker()
    schema = maker.of(_type_of(report.value))
    if report.more:
        maker.add(schema["$ref"].rpartition("/")[2], report.more)
    for name, more in report.within.items():
        maker.add(name, more)
    return _whole(command, schema, maker.definitions)


def check_report(command: str, document: Any) -> None:
    """The document has every name of the command's schema, and none besides."""
    import jsonschema

    schema = closed(report_schemas()[file_name(command)])
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(document))
    assert errors == [], "\n".join(f"{error.json_path}: {error.message[:300]}" for error in errors)


def closed(schema: Any) -> Any:
    """The same schema, without room for names that it does not have: what this version prints, and no more."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(item) for name, item in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def _verify_schema() -> dict[str, Any]:
    """What `verify` prints when it is asked by a key, and, by a policy, that of `policy explain`."""
    maker = _Maker()
    by_key = {
        "type": "object",
        "description": "By a key: what was looked for, and what was found.",
        "properties": {
            "reference": {"type": "string"},
            "digest": DIGEST,
            "found": {"enum": ["local", "remote"]},
            "verified": {"type": "boolean", "description": "Whether at least one statement matched."},
            "predicate_type": {"type": "string"},
            "keys": {"type": "array", "items": _KEY},
            "matched": {"type": "array", "items": _MATCHED},
            "others": {"type": "array", "items": _EVIDENCE},
            "unusable": {"type": "array", "items": maker.of(_type_of("mlkit.api.evidence:Unusable"))},
            "unexamined": _BYTES,
        },
    }
    by_key["required"] = list(by_key["properties"])
    by_policy = maker.of(_type_of("mlkit.trust.policy_report:PolicyReport"))
    return _whole("verify", {"anyOf": [by_key, by_policy]}, maker.definitions)


def _whole(command: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    name = file_name(command)
    reference = schema.get("$ref") if set(schema) == {"$ref"} else None
    if isinstance(reference, str):
        # What is printed stands at the top, not behind a name.
        name_of_top = reference.rpartition("/")[2]
        definitions = dict(definitions)
        schema = definitions.pop(name_of_top)
    return {
        "$schema": DIALECT,
        "$id": f"https://mlkit.dev/schemas/{name}",
        "title": f"mlkit {command} --json",
        **schema,
        **({"$defs": dict(sorted(definitions.items()))} if definitions else {}),
    }


def _type_of(text: str) -> Any:
    module, _, name = text.partition(":")
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found):
        return found
    return _hints(found)["return"]


class _Maker:
    """Schemas of types, with a definition for each class of values."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[type, str] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is typing.Annotated:
            return self.of(arguments[0])
        if origin in (Union, types.UnionType):
            return self._one_of(arguments)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return {"type": "array", "prefixItems": [self.of(one) for one in arguments], "items": False}
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            values = self.of(arguments[1])
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        if inspect.isclass(origin) and issubclass(origin, Sequence | AbstractSet):
            return {"type": "array", "items": self.of(arguments[0])}
        return self._plain(kind)

    def add(self, name: str, more: Mapping[str, Any]) -> None:
        """Names to those of a class that was met."""
        made = self.definitions[name]
        made["properties"] = {**made["properties"], **more}
        made["required"] = [*dict.fromkeys([*made["required"], *more])]

    def _plain(self, kind: Any) -> dict[str, Any]:
        if kind in (Any, object):
            return {}
        if kind is Digest:
            return dict(DIGEST)
        if inspect.isclass(kind) and issubclass(kind, Enum):
            return {"enum": [item.value for item in kind]}
        for simple, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
            if kind is simple:
                return {"type": name}
        if kind is datetime:
            return {"type": "string", "format": "date-time"}
        if kind is bytes:
            return {"type": "string", "contentEncoding": "base64"}
        if kind is types.NoneType:
            return {"type": "null"}
        if inspect.isclass(kind) and issubclass(kind, PurePath | Reference):
            return {"type": "string"}
        if inspect.isclass(kind) and issubclass(kind, Mapping):
            return {"type": "object"}
        if dataclasses.is_dataclass(kind):
            return {"$ref": f"#/$defs/{self._define(typing.cast(type, kind))}"}
        raise TypeError(f"no schema for {kind!r}")

    def _one_of(self, kinds: Sequence[Any]) -> dict[str, Any]:
        schemas = [self.of(kind) for kind in kinds]
        if {} in schemas:
            return {}
        names = [schema.get("type") for schema in schemas]
        if all(isinstance(name, str) and set(schema) == {"type"} for name, schema in zip(names, schemas, strict=True)):
            return {"type": names}
        return {"anyOf": schemas}

    def _define(self, kind: type) -> str:
        if kind in self._names:
            return self._names[kind]
        name = kind.__name__
        if name in self.definitions:
            name = f"{kind.__module__.rpartition('.')[2].title().replace('_', '')}{name}"
        self._names[kind] = name
        self.definitions[name] = {}  # so that a value that holds others of its kind finds itself
        notes = _notes(kind.__module__).get(kind.__name__, {})
        hints = _hints(kind)
        properties: dict[str, Any] = {}
        for one in dataclasses.fields(kind):
            schema = self.of(hints[one.name])
            if one.name in notes:
                schema = {**schema, "description": notes[one.name]}
            properties[render._JSON_NAMES.get(one.name, one.name)] = schema
        self.definitions[name] = {
            "type": "object",
            "description": inspect.getdoc(kind),
            "properties": properties,
            "required": list(properties),
        }
        return name


def _hints(thing: Any) -> dict[str, Any]:
    """Types by name; those that a module imports only for checkers are looked for where they are."""
    module = sys.modules[thing.__module__]
    try:
        return typing.get_type_hints(thing)
    except NameError:
        return typing.get_type_hints(thing, localns={**_only_for_checkers(module)})


def _only_for_checkers(module: types.ModuleType) -> dict[str, Any]:
    import ast

    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for item in node.body:
                if isinstance(item, ast.ImportFrom) and item.module:
                    source = importlib.import_module(item.module)
                    found.update({alias.asname or alias.name: getattr(source, alias.name) for alias in item.names})
    return found


@functools.cache
def _notes(module: str) -> dict[str, dict[str, str]]:
    return dict(field_notes(sys.modules[module]))
