"""The Kitfile: what a kit is made of, as its author writes it.

A superset of KitOps' Kitfile 1.0.0: every one of those is valid here and means the same. mlkit adds `version` to every
entry and the sections `parameters`, `deployment`, `inputs` and `checks`. Unknown keys are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.kitfile_problems import line_of, problems_of, quoted, summary, without
from mlkit.spec.kitfile_yaml import DEPTH_LIMIT, Loc, Problem, Scalar, dump_yaml, read_yaml
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference

MANIFEST_VERSION = "1.0.0"
SCHEMA_URL = "https://mlkit.dev/schemas/kitfile-v1.json"

_PART_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_PART_TYPE_LIMIT = 64  # characters, as in KitOps
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PATH_LIMIT = 4096  # PATH_MAX of Linux
_HINT = "the keys of a Kitfile are listed in docs/reference/kitfile.md"


def clean_path(path: str) -> str:
    """`path` relative to the kit's root, without `./`, doubled and trailing slashes; `.` is the whole directory.

    Raises: UsageError for a path that is absolute, leaves the directory, or that shells and systems read differently.
    """
    reason = None
    if path.startswith("/"):
        reason = "is absolute (write it relative to the Kitfile's directory)"
    elif path.startswith("~"):
        reason = "begins with ~, which is not expanded here"
    elif "\\" in path:
        reason = "holds a backslash (separate directories with /)"
    elif _CONTROL.search(path):
        reason = "holds a control character"
    elif len(path) > _PATH_LIMIT:
        reason = f"is longer than {_PATH_LIMIT} characters"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        reason = "leaves the directory with .."
    if reason is not None:
        raise UsageError(f"the path {quoted(path)} {reason}")
    return "/".join(parts) or "."


def _source_text(value: Any) -> Any:
    """A number or truth value where text is wanted is the text as written: `version: 1.10` is "1.10"."""
    return value.text if isinstance(value, Scalar) else value


def _none_is_empty(value: Any) -> Any:
    """`docs:` with nothing after it is an empty section, as in KitOps."""
    return () if value is None else value


def _checked_path(path: str) -> str:
    try:
        clean_path(path)
    except UsageError as error:
        raise PydanticCustomError("unsafe_path", "{reason}", {"reason": error.message}) from error
    return path


def _checked_model_path(path: str) -> str:
    return path if _as_reference(path) is not None else _checked_path(path)


def _checked_part_type(text: str) -> str:
    if len(text) > _PART_TYPE_LIMIT or not _PART_TYPE.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is no part type (at most 64 letters, digits, '_', '.' and '-', first no '.' or '-')"
        )
    return text


def _checked_bundle(path: str) -> str:
    if not path.endswith(".mcpb"):
        raise ValueError(f"{quoted(path)} does not end in .mcpb")
    return path


def _checked_reference(text: str) -> str:
    try:
        Reference.parse(text)
    except UsageError as error:
        raise ValueError(error.message) from error
    return text


def _checked_digest(text: str) -> str:
    try:
        Digest.parse(text)
    except IntegrityError as error:
        raise ValueError(error.message) from error
    return text


def _seconds(value: Any) -> float:
    number = value.value if isinstance(value, Scalar) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        raise ValueError("expected a number of seconds greater than 0")
    return float(number)


def _json_value(value: Any, depth: int = 1) -> Any:
    """What JSON can hold, nothing else: other tools get these values as JSON."""
    text = value.text if isinstance(value, Scalar) else ""
    if isinstance(value, Scalar):
        value = value.value
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            shown = text or str(value)
            raise ValueError(f"{shown[:40]} is not a number that other programs can read (put text in quotes)")
        return value
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, depth + 1) for item in value]
    raise ValueError(f"{type(value).__name__} is nothing that JSON can hold")


Text = Annotated[
    str, Strict(), BeforeValidator(_source_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
LocalPath = Annotated[Text, AfterValidator(_checked_path), WithJsonSchema({"type": "string"})]
ModelPath = Annotated[Text, AfterValidator(_checked_model_path), WithJsonSchema({"type": "string"})]
BundlePath = Annotated[
    LocalPath, AfterValidator(_checked_bundle), WithJsonSchema({"type": "string", "pattern": r"\.mcpb$"})
]
PartType = Annotated[
    Text,
    AfterValidator(_checked_part_type),
    WithJsonSchema({"type": "string", "maxLength": _PART_TYPE_LIMIT, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"}),
]
ReferenceText = Annotated[Text, AfterValidator(_checked_reference), WithJsonSchema({"type": "string"})]
DigestText = Annotated[
    Text, AfterValidator(_checked_digest), WithJsonSchema({"type": "string", "pattern": "^sha(256|512):[0-9a-f]+$"})
]
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Parameters = Annotated[Any, BeforeValidator(_json_value)]


class _Section(BaseModel):
    """Frozen, and strict about keys; attributes are in snake case, keys as KitOps writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


class Package(_Section):
    """The project that the kit is a release of."""

    name: Text | None = None
    version: Text | None = None
    """Version of the whole: of this release of model, data, parameters and deployment together."""
    description: Text | None = None
    license: Text | None = None
    """SPDX expression."""
    authors: Annotated[tuple[Text, ...], BeforeValidator(_none_is_empty)] = ()


class Part(_Section):
    """A further file or directory of the model: a tokenizer, a config, an adapter."""

    name: Text | None = None
    path: LocalPath | None = None
    license: Text | None = None
    type: PartType | None = None
    version: Text | None = None


class Model(_Section):
    """The model; without a path it has no content of its own."""

    name: Text | None = None
    path: ModelPath | None = None
    """File or directory, or a reference to another kit whose model this one builds on."""
    license: Text | None = None
    framework: Text | None = None
    format: Text | None = None
    version: Text | None = None
    description: Text | None = None
    parts: Annotated[tuple[Part, ...], BeforeValidator(_none_is_empty)] = ()
    parameters: Parameters = None
    """Anything that JSON can hold."""


class CodeEntry(_Section):
    """Source code; without a path it is everything that no other entry holds."""

    name: Text | None = None
    path: LocalPath | None = None
    description: Text | None = None
    license: Text | None = None
    version: Text | None = None


class DatasetEntry(_Section):
    """A dataset."""

    name: Text | None = None
    path: LocalPath | None = None
    remote_path: Text | None = Field(default=None, alias="remotePath")
    """An S3 URL, or a reference to another kit."""
    remote_hash: Text | None = Field(default=None, alias="remoteHash")
    """ETag of the S3 object."""
    description: Text | None = None
    license: Text | None = None
    version: Text | None = None
    parameters: Parameters = None
    """Anything that JSON can hold."""


class DocsEntry(_Section):
    """Documentation: a model card, a paper."""

    path: LocalPath | None = None
    description: Text | None = None
    version: Text | None = None


class PromptEntry(_Section):
    """Prompts."""

    name: Text | None = None
    path: LocalPath | None = None
    description: Text | None = None
    version: Text | None = None


class McpServerEntry(_Section):
    """A bundled MCP server."""

    name: Text | None = None
    path: BundlePath
    description: Text | None = None
    version: Text | None = None


class ParametersEntry(_Section):
    """Parameters of training or inference, as files."""

    name: Text | None = None
    path: LocalPath
    version: Text | None = None
    description: Text | None = None


class DeploymentEntry(_Section):
    """Deployment configuration."""

    name: Text | None = None
    path: LocalPath
    version: Text | None = None
    description: Text | None = None
    runtime: Text | None = None
    """What runs it, for example `vllm` or `kserve`."""


class InputEntry(_Section):
    """Something that the kit was made from."""

    role: Annotated[
        Literal["dataset", "base-model", "adapter-base", "code", "run", "other"], BeforeValidator(_source_text)
    ]
    name: Text | None = None
    ref: ReferenceText | None = None
    """A kit."""
    uri: Text | None = None
    """Where else it is, for example `s3://bucket/key` or `git+https://host/repository@commit`."""
    digest: DigestText | None = None
    """What `ref` or `uri` held."""


class CheckEntry(_Section):
    """A command that proves the kit good."""

    name: Text
    run: tuple[Text, ...]
    """Program and arguments; no shell."""
    timeout: Seconds | None = None
    """Seconds."""


class Kitfile(_Section):
    """A whole Kitfile."""

    manifest_version: Text = Field(default=MANIFEST_VERSION, alias="manifestVersion")
    package: Annotated[Package, BeforeValidator(lambda value: {} if value is None else value)] = Package()
    model: Model | None = None
    datasets: Annotated[tuple[DatasetEntry, ...], BeforeValidator(_none_is_empty)] = ()
    parameters: Annotated[tuple[ParametersEntry, ...], BeforeValidator(_none_is_empty)] = ()
    deployment: Annotated[tuple[DeploymentEntry, ...], BeforeValidator(_none_is_empty)] = ()
    code: Annotated[tuple[CodeEntry, ...], BeforeValidator(_none_is_empty)] = ()
    docs: Annotated[tuple[DocsEntry, ...], BeforeValidator(_none_is_empty)] = ()
    prompts: Annotated[tuple[PromptEntry, ...], BeforeValidator(_none_is_empty)] = ()
    mcp_servers: Annotated[tuple[McpServerEntry, ...], BeforeValidator(_none_is_empty)] = Field(
        default=(), alias="mcpServers"
    )
    inputs: Annotated[tuple[InputEntry, ...], BeforeValidator(_none_is_empty)] = ()
    checks: Annotated[tuple[CheckEntry, ...], BeforeValidator(_none_is_empty)] = ()


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

    Raises: UsageError with every problem in it, each with its line; LimitError beyond 256 KiB, 32 levels, 20,000 values.
    """
    document = read_yaml(raw, what=what)
    problems = list(document.problems)
    value = document.value
    kitfile: Kitfile | None = None
    if not isinstance(value, dict):
        if not problems:
            found = "is empty" if value is None else "is not a mapping of keys to values"
            problems.append(Problem(document.lines.get((), 1), (), f"the file {found}"))
    else:
        try:
            kitfile = Kitfile.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            found_problems = list(problems_of(error, Kitfile, document.lines))
            # What a syntax error cut off is not missing.
            problems += [item for item in found_problems if document.is_complete or item.message != "missing"]
            kitfile = _salvage(value, [problem.loc for problem in found_problems])
    if kitfile is not None:
        problems += [Problem(line_of(loc, document.lines), loc, message) for loc, message in _broken_rules(kitfile)]
    if problems or kitfile is None:
        raise UsageError(summary(problems, what=what), hint=_hint(value))
    return kitfile


def parse_kitfile_json(raw: bytes, *, what: str) -> Kitfile:
    """Read the JSON form that a kit carries, from any tool: keys that are unknown here are passed over, as Go's reader does.

    Raises: IntegrityError for another shape; UnsafeError for a path that leaves the kit; LimitError beyond 4 MiB.
    """
    value: Any = parse_object(raw, what=what)
    try:
        return Kitfile.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = [item["loc"] for item in error.errors(include_url=False) if item["type"] == "extra_forbidden"]
    try:
        return Kitfile.model_validate(without(value, unknown), by_alias=True, by_name=False)
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
    value = _plain(kitfile)
    if not value["package"]:
        del value["package"]
    return value


def entries(kitfile: Kitfile) -> tuple[Entry, ...]:
    """Every entry that has local content, in the order of `Class`.

    Not among them: a model that is another kit or has no path, and a dataset that is only remote.
    """
    return tuple(_entries(kitfile))


def model_reference(kitfile: Kitfile) -> Reference | None:
    """The kit that the model is taken from, where `model.path` names one."""
    path = kitfile.model.path if kitfile.model else None
    return None if path is None else _as_reference(path)


def warnings(kitfile: Kitfile) -> tuple[str, ...]:
    """What is allowed, but deserves a word."""
    if kitfile.manifest_version == MANIFEST_VERSION:
        return ()
    return (f"manifestVersion {quoted(kitfile.manifest_version)} is not known (expected {MANIFEST_VERSION})",)


def _as_reference(path: str) -> Reference | None:
    # As KitOps decides: it must show a tag, digest or port, else every relative path would be a reference.
    if ":" not in path and "@" not in path:
        return None
    try:
        return Reference.parse(path)
    except UsageError:
        return None


def _entries(kitfile: Kitfile) -> Iterator[Entry]:
    model = kitfile.model
    if model is not None:
        if model.path and _as_reference(model.path) is None:
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


def _broken_rules(kitfile: Kitfile) -> Iterator[tuple[Loc, str]]:
    """What is wrong between fields that are right by themselves."""
    first: dict[str, str] = {}
    for entry in _entries(kitfile):
        owner = first.setdefault(entry.path, entry.id)
        if owner != entry.id:
            yield (*_loc(entry.id), "path"), f"{quoted(entry.path)} is already the path of {owner}"
    for number, dataset in enumerate(kitfile.datasets):
        if dataset.remote_path:
            yield from _remote_rules(("datasets", number), dataset.remote_path, dataset.remote_hash)
    for number, made_from in enumerate(kitfile.inputs):
        if not (made_from.ref or made_from.uri or made_from.digest):
            yield ("inputs", number), "needs ref, uri or digest"
    for number, check in enumerate(kitfile.checks):
        if not check.run:
            yield ("checks", number, "run"), "needs a program to run"


def _remote_rules(loc: Loc, path: str, digest: str | None) -> Iterator[tuple[Loc, str]]:
    if path.startswith("s3://"):
        if not digest:
            yield loc, "an S3 remotePath needs remoteHash, the ETag of the object"
    elif _as_reference(path) is None:
        yield (*loc, "remotePath"), f"{quoted(path)} is neither an s3:// URL nor a reference to a kit"


def _loc(place: str) -> Loc:
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[A-Za-z]+|[0-9]+", place))


def _salvage(value: Any, locs: list[Loc]) -> Kitfile | None:
    """The Kitfile without what is wrong in it, so that the rules between fields are checked in the same run."""
    try:
        return Kitfile.model_validate(without(value, locs), by_alias=True, by_name=False)
    except ValidationError:
        return None


def _hint(value: Any) -> str:
    version = value.get("manifestVersion") if isinstance(value, dict) else None
    version = _source_text(version)
    if isinstance(version, str) and version != MANIFEST_VERSION:
        return (
            f"it says manifestVersion {quoted(version)}, and this mlkit knows {MANIFEST_VERSION}: upgrade, or mend it"
        )
    return _HINT


def _plain(value: Any) -> Any:
    if isinstance(value, _Section):
        fields = type(value).model_fields
        found = {field.alias or name: _plain(getattr(value, name)) for name, field in fields.items()}
        return {key: item for key, item in found.items() if item is not None and item != ()}
    return [_plain(item) for item in value] if isinstance(value, tuple) and value else value
