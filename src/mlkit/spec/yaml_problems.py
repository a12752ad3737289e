"""What is wrong with a Kitfile or a policy, in the words and with the line numbers of its author."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mlkit.spec.yaml_text import Loc, Problem, Scalar

_SHOWN_LIMIT = 50  # problems in one message; a person mends some and runs again
_SIMILAR = 0.55  # "lisence" is that close to "license", and "path" to nothing else


def problems_of(error: ValidationError, model: type[BaseModel], lines: Mapping[Loc, int]) -> Iterator[Problem]:
    """Every error of a validation, at the line of the value or of the nearest thing around it."""
    for item in error.errors(include_url=False):
        loc = item["loc"]
        if item["type"] == "extra_forbidden":
            message = _unknown_key(str(loc[-1]), _model_at(model, loc[:-1]))
        else:
            message = _message(item["type"], item["msg"], item.get("ctx", {}), item["input"])
        yield Problem(line_of(loc, lines), loc, message)


def summary(problems: Iterable[Problem], *, what: str) -> str:
    """One line that counts the problems, and one for each in the order of the file."""
    ordered = sorted(set(problems), key=lambda problem: (problem.line, [str(part) for part in problem.loc]))
    shown = [f"  {_line(problem)}" for problem in ordered[:_SHOWN_LIMIT]]
    if len(ordered) > _SHOWN_LIMIT:
        shown.append(f"  and {len(ordered) - _SHOWN_LIMIT} more")
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return "\n".join([f"{what}: {count}", *shown])


def without(value: Any, locs: Iterable[Loc]) -> Any:
    """A copy of a mapping without the values at `locs`, places in it; what holds the rest is still worth checking."""
    copy = _copy(value)
    for loc in sorted(set(locs), key=lambda loc: [(isinstance(part, int), part) for part in loc], reverse=True):
        container = copy
        for part in loc[:-1]:
            container = container[part]
        if isinstance(container, list):
            container[int(loc[-1])] = {}  # so that the others keep their numbers
        else:
            container.pop(loc[-1], None)
    return copy


def line_of(loc: Loc, lines: Mapping[Loc, int]) -> int:
    """The line of `loc`, or of the nearest thing around it; 0 where lines are unknown."""
    while loc and loc not in lines:
        loc = loc[:-1]
    return lines.get(loc, 0)


def address(loc: Loc) -> str:
    """`loc` as people write it: `model.parts[0].path`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_printable(part)}" if text else _printable(part)
    return text


def quoted(text: str) -> str:
    """`text` in double quotes, escaped and cut, whatever it holds."""
    return json.dumps(text if len(text) <= 80 else text[:77] + "...")


def _line(problem: Problem) -> str:
    parts = (f"line {problem.line}" if problem.line else "", address(problem.loc), problem.message)
    return ": ".join(part for part in parts if part)


def _unknown_key(key: str, model: type[BaseModel] | None) -> str:
    names = [field.alias or name for name, field in model.model_fields.items()] if model else []
    by_case = {name.lower(): name for name in names}
    close = difflib.get_close_matches(key.lower()[:64], by_case, n=1, cutoff=_SIMILAR)
    if close:
        return f"unknown key (did you mean {quoted(by_case[close[0]])}?)"
    return f"unknown key (expected one of {', '.join(names)})" if names else "unknown key"


def _message(kind: str, text: str, context: Mapping[str, Any], value: Any) -> str:
    match kind:
        case "missing":
            return "missing"
        case "string_type":
            return f"expected text, found {_found(value)}"
        case "tuple_type":
            return f"expected a list, found {_found(value)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a mapping, found {_found(value)}"
        case "literal_error":
            return f"expected {context['expected']}, found {_found(value)}"
        case "value_error":
            return str(context["error"])
    return text


def _found(value: Any) -> str:
    if isinstance(value, Scalar):
        return value.text if len(value.text) <= 40 else value.text[:37] + "..."
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "nothing"
    if isinstance(value, dict | BaseModel):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else quoted(str(value))


def _model_at(model: type[BaseModel] | None, loc: Loc) -> type[BaseModel] | None:
    annotation: Any = model
    for part in loc:
        if isinstance(part, str) and _mapped(annotation) is not None:
            annotation = _mapped(annotation)  # a key that the author chose
        elif isinstance(part, str):
            found = _model_in(annotation)
            fields = {field.alias or name: field for name, field in found.model_fields.items()} if found else {}
            annotation = fields[part].annotation if part in fields else None
    return _model_in(annotation)


def _mapped(annotation: Any) -> Any:
    """What a mapping of text to models holds; None for what is none."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return next((found for found in map(_mapped, get_args(annotation)) if found is not None), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found), None)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _printable(text: str) -> str:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return shown if shown.isprintable() and shown else quoted(shown)
