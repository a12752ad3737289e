"""What one value of a Kitfile may be: text, paths, references, numbers, each checked by itself."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.bounds import Bound
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.yaml_problems import quoted
from mlkit.spec.yaml_text import DEPTH_LIMIT, Scalar

_PART_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_PART_TYPE_LIMIT = 64  # characters, as in KitOps
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PATH_LIMIT = 4096  # PATH_MAX of Linux

Item = TypeVar("Item")


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


def as_reference(path: str) -> Reference | None:
    """The kit that `path` names, or None for a path of files."""
    # As KitOps decides: it must show a tag, digest or port, else every relative path would be a reference.
    if ":" not in path and "@" not in path:
        return None
    try:
        return Reference.parse(path)
    except UsageError:
        return None


def source_text(value: Any) -> Any:
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
    return path if as_reference(path) is not None else _checked_path(path)


def _checked_part_type(text: str) -> str:
    if not text:  # KitOps takes it for absent
        return text
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


def _checked_bound(text: str) -> str:
    try:
        Bound.parse(text)
    except UsageError as error:
        raise ValueError(error.message) from error
    return text


def _checked_metrics(path: str) -> str:
    return path if path == "-" else _checked_path(path)


def _exit_code(value: Any) -> int:
    number = value.value if isinstance(value, Scalar) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 255:
        raise ValueError("expected an exit code from 0 to 255")
    return number


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("expected variables and their values")
    found = {name: source_text(item) for name, item in value.items()}
    for name, text in found.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ValueError(f"{quoted(str(name))} is no name of a variable")
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"the variable {name} is not text")
    return found


def _seconds(value: Any) -> float:
    number = value.value if isinstance(value, Scalar) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        raise ValueError("expected a number of seconds greater than 0")
    return float(number)


def _json_value(value: Any, depth: int = 1) -> Any:
    """What JSON can hold, nothing else: other tools get these values as JSON."""
    if isinstance(value, Scalar):
        if value.value is None:
            raise ValueError(f"{value.text[:40]} is not a number that other programs can read (put text in quotes)")
        return value.value
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, int | float):
        raise ValueError("a number beyond 64 bits is none that other programs can read")
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, depth + 1) for item in value]
    raise ValueError(f"{type(value).__name__} is nothing that JSON can hold")


Text = Annotated[str, Strict(), BeforeValidator(source_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
LocalPath = Annotated[Text, AfterValidator(_checked_path)]
ModelPath = Annotated[Text, AfterValidator(_checked_model_path)]
BundlePath = Annotated[
    LocalPath, AfterValidator(_checked_bundle), WithJsonSchema({"type": "string", "pattern": r"\.mcpb$"})
]
PartType = Annotated[
    Text,
    AfterValidator(_checked_part_type),
    WithJsonSchema({"type": "string", "maxLength": _PART_TYPE_LIMIT, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"}),
]
ReferenceText = Annotated[Text, AfterValidator(_checked_reference)]
DigestText = Annotated[
    Text, AfterValidator(_checked_digest), WithJsonSchema({"type": "string", "pattern": "^sha(256|512):[0-9a-f]+$"})
]
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
ExitCode = Annotated[
    int, BeforeValidator(_exit_code), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 255})
]
BoundText = Annotated[Text, AfterValidator(_checked_bound), WithJsonSchema({"type": "string"})]
MetricsPath = Annotated[Text, AfterValidator(_checked_metrics), WithJsonSchema({"type": "string"})]
Environment = Annotated[
    dict[str, str],
    BeforeValidator(_environment),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }
    ),
]
Parameters = Annotated[Any, BeforeValidator(_json_value)]
Listed = Annotated[tuple[Item, ...], BeforeValidator(_none_is_empty)]
