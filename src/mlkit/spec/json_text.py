"""JSON from outside, read as I-JSON (RFC 7493), and JSON of our own, written canonically.

Python's reader accepts duplicate names, NaN, a byte order mark and UTF-16; every one of them lets two programs read
two documents out of the same bytes, so this one refuses them all.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from mlkit.errors import IntegrityError, LimitError

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes; registries must take manifests of at least this size (OCI distribution, "Pushing Manifests")."""

_DEPTH_LIMIT = 64
_INTEGER_DIGITS = 19  # 2**63 - 1 has nineteen; sizes are signed 64-bit integers (OCI descriptor.md)

# A string that never ends reaches to the end of the text, so that no part of it is looked at twice.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_ONE_KIND = str.maketrans("{}", "[]")


def parse_json(raw: bytes, *, what: str, limit: int = MANIFEST_LIMIT) -> Any:
    """The value in `raw`; `what` names the document in errors.

    Raises: LimitError beyond `limit` bytes or 64 levels; IntegrityError for all that is not I-JSON.
    """
    if len(raw) > limit:
        raise LimitError(f"{what}: {len(raw)} bytes is more than the limit of {limit}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{what}: not UTF-8 at byte {error.start}") from error
    _check_depth(text, what)
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, what),
            parse_constant=lambda name: _no(what, name),
            parse_int=lambda digits: _integer(digits, what),
            parse_float=lambda digits: _finite(digits, what),
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{what}: not valid JSON: {_reason(error)}") from error
    if "\\u" in text or "\\U" in text:
        _check_surrogates(value, what)
    return value


def parse_object(raw: bytes, *, what: str, limit: int = MANIFEST_LIMIT) -> dict[str, Any]:
    """Like `parse_json`, for a document that must be an object."""
    value = parse_json(raw, what=what, limit=limit)
    if not isinstance(value, dict):
        raise IntegrityError(f"{what}: expected a JSON object, found {type(value).__name__}")
    return value


def render_json(value: Any) -> bytes:
    """Canonical bytes: sorted names, no white space, UTF-8, no NaN. The same value gives the same bytes anywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _check_depth(text: str, what: str) -> None:
    """Count levels before parsing, so that depth costs no stack. Raises: LimitError.

    Each round takes away the innermost brackets: all of it is string replacement, where a loop over the characters of
    a large kit document would take minutes.
    """
    if text.count("[") + text.count("{") <= _DEPTH_LIMIT:
        return
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text)).translate(_ONE_KIND)
    for _ in range(_DEPTH_LIMIT):
        outer = brackets.replace("[]", "")
        if outer == brackets:
            break
        brackets = outer
    if "[]" in brackets or brackets.count("[") > _DEPTH_LIMIT:
        raise LimitError(f"{what}: nested deeper than {_DEPTH_LIMIT} levels")


def _unique(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # set.add in a generator
        raise IntegrityError(f"{what}: the name {ascii(name)[:100]} occurs twice in one object")
    return value


def _no(what: str, name: str) -> NoReturn:
    raise IntegrityError(f"{what}: {name} is not JSON")


def _integer(digits: str, what: str) -> int:
    if len(digits.lstrip("-")) > _INTEGER_DIGITS:
        raise IntegrityError(f"{what}: an integer of {len(digits)} digits does not fit 64 bits")
    return int(digits)


def _finite(digits: str, what: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise IntegrityError(f"{what}: the number {digits[:40]} does not fit 64 bits")
    return number


def _check_surrogates(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise IntegrityError(f"{what}: holds a lone surrogate") from error


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
