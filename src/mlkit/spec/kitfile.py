"""The Kitfile: what a kit is made of, as its author writes it.

A superset of KitOps' Kitfile 1.0.0: every one of those is valid here and means the same. mlkit adds `version` to every
entry and the sections `parameters`, `deployment`, `inputs` and `checks`. Unknown keys are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.spec.json_text import parse_object
from mlkit.spec.kitfile_fields import Listed, Text, as_reference, clean_path, source_text
from mlkit.spec.kitfile_sections import (
    CheckEntry,
    CodeEntry,
    DatasetEntry,
    DeploymentEntry,
    DocsEntry,
    InputEntry,
    McpServerEntry,
    Model,
    Package,
    ParametersEntry,
    Part,
    PromptEntry,
    Section,
)
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference
from mlkit.spec.yaml_problems import line_of, problems_of, quoted, summary, without
from mlkit.spec.yaml_text import Document, Loc, Problem, dump_yaml, read_yaml

__all__ = [
    "CheckEntry",
    "CodeEntry",
    "DatasetEntry",
    "DeploymentEntry",
    "DocsEntry",
    "Entry",
    "InputEntry",
    "Kitfile",
    "McpServerEntry",
    "Model",
    "Package",
    "ParametersEntry",
    "Part",
    "PromptEntry",
    "clean_path",
    "dataset_reference",
    "entries",
    "kitfile_json",
    "model_reference",
    "parse_kitfile",
    "parse_kitfile_json",
    "remote_entries",
    "render_kitfile",
    "warnings",
]

MANIFEST_VERSION = "1.0.0"
SCHEMA_URL = "https://mlkit.dev/schemas/kitfile-v1.json"

_HINT = "the keys of a Kitfile are listed in docs/reference/kitfile.md"


class Kitfile(Section):
    """A whole Kitfile."""

    manifest_version: Text = Field(default=MANIFEST_VERSION, alias="manifestVersion")
    package: Annotated[Package, BeforeValidator(lambda value: {} if value is None else value)] = Package()
    model: Model | None = None
    datasets: Listed[DatasetEntry] = ()
    parameters: Listed[ParametersEntry] = ()
    deployment: Listed[DeploymentEntry] = ()
    code: Listed[CodeEntry] = ()
    docs: Listed[DocsEntry] = ()
    prompts: Listed[PromptEntry] = ()
    mcp_servers: Listed[McpServerEntry] = Field(default=(), alias="mcpServers")
    inputs: Listed[InputEntry] = ()
    checks: Listed[CheckEntry] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a Kitfile that has local content."""

    cls: Class
    id: str
    """Its address in the Kitfile: `model`, `model.parts[0]`, `datasets[1]`."""
    name: str | None
    path: str
    """As `clean_path` gives it."""
    version: str | None
    description: str | None
    license: str | None


def parse_kitfile(raw: bytes, *, what: str = "Kitfile") -> Kitfile:
    """Read a Kitfile that a person wrote, in YAML or JSON; `what` names it in errors.

    Raises: UsageError with every problem in it, each with its line; LimitError beyond 256 KiB, 32 levels or 20,000
    values.
    """
    document = read_yaml(raw, what=what)
    kitfile, problems = _validate(document)
    if kitfile is None or problems:
        raise UsageError(summary(problems, what=what), hint=_hint(document.value))
    return kitfile


def parse_kitfile_json(raw: bytes, *, what: str) -> Kitfile:
    """Read the JSON form that a kit carries, from any tool. Keys unknown here are passed over, as Go's reader does.

    Raises: IntegrityError for another shape; UnsafeError for a path that leaves the kit; LimitError beyond 4 MiB.
    """
    value: Any = parse_object(raw, what=what)
    try:
        return Kitfile.model_validate(value)
    except ValidationError as error:
        unknown = [item["loc"] for item in error.errors(include_url=False) if item["type"] == "extra_forbidden"]
    try:
        return Kitfile.model_validate(without(value, unknown))
    except ValidationError as error:
        message = summary(problems_of(error, Kitfile, {}), what=what)
        if any(item["type"] == "unsafe_path" for item in error.errors(include_url=False)):
            raise UnsafeError(message) from error
        raise IntegrityError(message) from error


def render_kitfile(kitfile: Kitfile, *, schema_line: bool = True) -> str:
    """YAML for people and their editors; `parse_kitfile` reads the same Kitfile back."""
    head = f"# yaml-language-server: $schema={SCHEMA_URL}\n" if schema_line else ""
    return head + dump_yaml(kitfile_json(kitfile))


def kitfile_json(kitfile: Kitfile) -> dict[str, Any]:
    """The JSON form with KitOps' names; what is absent is left out."""
    value = _section_json(kitfile)
    if not value["package"]:
        del value["package"]
    return value


def entries(kitfile: Kitfile) -> tuple[Entry, ...]:
    """Every entry that has content in the kit, in the order of `Class`.

    Not among them: a model that is another kit or has no path, and a remote dataset, whose path is where it is put.
    """
    remote = {f"datasets[{number}]" for number, dataset in enumerate(kitfile.datasets) if dataset.remote_path}
    return tuple(entry for entry in _entries(kitfile) if entry.id not in remote)


def model_reference(kitfile: Kitfile) -> Reference | None:
    """The kit that the model is taken from, where `model.path` names one."""
    path = kitfile.model.path if kitfile.model else None
    return None if path is None else as_reference(path)


def remote_entries(kitfile: Kitfile) -> tuple[tuple[Entry, str, str | None], ...]:
    """The datasets whose content is elsewhere: where it is put, where it is, and its hash."""
    return tuple(
        (_entry(Class.DATASETS, f"datasets[{number}]", item, item.description), item.remote_path, item.remote_hash)
        for number, item in enumerate(kitfile.datasets)
        if item.remote_path
    )


def dataset_reference(remote_path: str) -> Reference | None:
    """The kit that a `remotePath` names; None for a URL."""
    return as_reference(remote_path)


def warnings(kitfile: Kitfile) -> tuple[str, ...]:
    """What is allowed, but deserves a word."""
    if kitfile.manifest_version == MANIFEST_VERSION:
        return ()
    return (f"manifestVersion {quoted(kitfile.manifest_version)} is not known (expected {MANIFEST_VERSION})",)


def _validate(document: Document) -> tuple[Kitfile | None, list[Problem]]:
    problems = list(document.problems)
    if not isinstance(document.value, dict):
        if not problems:
            found = "is empty" if document.value is None else "is not a mapping of keys to values"
            problems.append(Problem(document.lines.get((), 1), (), f"the file {found}"))
        return None, problems
    spoiled: frozenset[Loc] = frozenset()
    try:
        kitfile = Kitfile.model_validate(document.value)
    except ValidationError as error:
        for problem in problems_of(error, Kitfile, document.lines):
            # What a syntax error cut off is not missing.
            if document.is_complete or problem.message != "missing":
                problems.append(problem)
        kitfile, spoiled = _salvage(document.value, error)
    for loc, message in _broken_rules(kitfile, spoiled):
        problems.append(Problem(line_of(loc, document.lines), loc, message))
    return kitfile, problems


def _salvage(value: Any, error: ValidationError) -> tuple[Kitfile, frozenset[Loc]]:
    """What is right in a Kitfile, so that the rules between fields are checked in the same run, and what was wrong."""
    errors = error.errors(include_url=False)
    spoiled = frozenset(item["loc"] for item in errors if item["type"] != "extra_forbidden")
    value = without(value, [item["loc"] for item in errors])
    try:
        return Kitfile.model_validate(value), spoiled
    except ValidationError as remaining:
        # Something that must be there is wrong or missing: the section says no more than that.
        value = without(value, [item["loc"][:1] for item in remaining.errors(include_url=False)])
    return Kitfile.model_validate(value), spoiled


def _entries(kitfile: Kitfile) -> Iterator[Entry]:
    model = kitfile.model
    if model is not None:
        if model.path and as_reference(model.path) is None:
            yield _entry(Class.MODEL, "model", model, description=model.description)
        for number, part in enumerate(model.parts):
            yield _entry(Class.MODEL, f"model.parts[{number}]", part)
    for number, dataset in enumerate(kitfile.datasets):
        if dataset.path or not dataset.remote_path:
            yield _entry(Class.DATASETS, f"datasets[{number}]", dataset, description=dataset.description)
    sections: tuple[tuple[Class, str, tuple[Any, ...]], ...] = (
        (Class.PARAMETERS, "parameters", kitfile.parameters),
        (Class.DEPLOYMENT, "deployment", kitfile.deployment),
        (Class.CODE, "code", kitfile.code),
        (Class.DOCS, "docs", kitfile.docs),
        (Class.PROMPTS, "prompts", kitfile.prompts),
        (Class.MCPSERVERS, "mcpServers", kitfile.mcp_servers),
    )
    for cls, key, items in sections:
        for number, item in enumerate(items):
            yield _entry(cls, f"{key}[{number}]", item, description=item.description)


def _entry(cls: Class, place: str, item: Any, description: str | None = None) -> Entry:
    # Sections differ in what they may say: docs have no name, most have no licence.
    return Entry(
        cls=cls,
        id=place,
        name=getattr(item, "name", None),
        path=clean_path(item.path or "."),
        version=item.version,
        description=description,
        license=getattr(item, "license", None),
    )


def _broken_rules(kitfile: Kitfile, spoiled: frozenset[Loc]) -> Iterator[tuple[Loc, str]]:
    """What is wrong between fields that are right by themselves; items at or around `spoiled` are left out."""
    first: dict[str, str] = {}
    for entry in _entries(kitfile):
        loc = _loc(entry.id)
        if _is_spoiled(loc, spoiled):
            continue
        owner = first.setdefault(entry.path, entry.id)
        if owner != entry.id:
            yield (*loc, "path"), f"{quoted(entry.path)} is already the path of {owner}"
    for number, dataset in enumerate(kitfile.datasets):
        if dataset.remote_path and not _is_spoiled(("datasets", number), spoiled):
            yield from _remote_rules(("datasets", number), dataset.remote_path, dataset.remote_hash)
    for number, made_from in enumerate(kitfile.inputs):
        is_named = made_from.ref or made_from.uri or made_from.digest
        if not is_named and not _is_spoiled(("inputs", number), spoiled):
            yield ("inputs", number), "needs ref, uri or digest"
    for number, check in enumerate(kitfile.checks):
        if not check.run and not _is_spoiled(("checks", number), spoiled):
            yield ("checks", number, "run"), "needs a program to run"
        if check.bounds and check.metrics is None and not _is_spoiled(("checks", number), spoiled):
            yield ("checks", number, "bounds"), "need metrics, where the numbers are"


def _is_spoiled(loc: Loc, spoiled: frozenset[Loc]) -> bool:
    return any(bad[: len(loc)] == loc for bad in spoiled)


def _remote_rules(loc: Loc, path: str, digest: str | None) -> Iterator[tuple[Loc, str]]:
    if path.startswith(("s3://", "https://")):
        if not digest:
            yield loc, "an S3 remotePath needs remoteHash, the ETag of the object or its sha256:…"
    elif as_reference(path) is None:
        yield (*loc, "remotePath"), f"{quoted(path)} is neither an s3:// URL nor a reference to a kit"


def _loc(place: str) -> Loc:
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[A-Za-z]+|[0-9]+", place))


def _hint(value: Any) -> str:
    version = value.get("manifestVersion") if isinstance(value, dict) else None
    version = source_text(version)
    if isinstance(version, str) and version != MANIFEST_VERSION:
        return (
            f"it says manifestVersion {quoted(version)}, and this mlkit knows {MANIFEST_VERSION}: upgrade, or mend it"
        )
    return _HINT


def _section_json(section: Section) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        item = getattr(section, name)
        if isinstance(item, tuple):
            item = [_section_json(each) if isinstance(each, Section) else each for each in item] or None
        elif isinstance(item, Section):
            item = _section_json(item)
        if item is not None:
            value[field.alias or name] = item
    return value
