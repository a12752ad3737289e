"""The header of GGUF: keys with typed values, then names and shapes of tensors (ggml, docs/gguf.md)."""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import Any, BinaryIO

from mlkit.archive.headers.facts import TEXT_LIMIT, Cursor, Facts, product, short_text
from mlkit.errors import IntegrityError, LimitError

READ_LIMIT = 64 * 1024 * 1024
"""Bytes of a header that are read: vocabularies have 5 to 20 MB."""
KEY_LIMIT = 4096
"""Keys; models have 20 to 60."""
STRING_LIMIT = 2_000_000
"""Texts in lists; the largest vocabularies have 800,000 tokens and merges."""
TENSOR_LIMIT = 100_000
"""Tensors; large mixtures of experts have some thousands."""

_NAME_LIMIT = 65535  # bytes of a key, as the format says
_DIMENSIONS = 8  # the format has 4 "currently"
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<B"),
    10: _U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
# llama.h, enum llama_ftype. What is no quantisation is a precision.
_FILE_TYPES = {
    **{2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L"},
    **{14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S"},
    **{22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M"},
    **{30: "IQ4_XS", 31: "IQ1_M", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE"},
}
# ggml.h, enum ggml_type; every other one is a quantisation, whose numbers have no width of their own.
_PRECISIONS = {0: "fp32", 1: "fp16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "fp64", 30: "bf16"}
_QUANTIZED = "quantized"
_WANTED = re.compile(r"general\.(?:architecture|name|type|license|file_type|base_model\.[0-9]\.repo_url)")


def read_gguf(stream: BinaryIO, size: int) -> Facts:
    """What keys and shapes tell; the tensors are not read. What was learned before a limit is kept, with the reason.

    Raises: IntegrityError for what is no header.
    """
    cursor = Cursor(stream, size, budget=READ_LIMIT)
    if cursor.take(4) != b"GGUF":
        raise IntegrityError("it does not begin with GGUF")
    version = cursor.number(_U32)
    if version not in (2, 3):
        raise IntegrityError(f"version {version} of GGUF is not known (expected 2 or 3, little endian)")
    tensors, keys = cursor.number(_U64), cursor.number(_U64)
    values: dict[str, Any] = {}
    elements: Counter[str] = Counter()
    problem = None
    try:
        _read_keys(cursor, keys, values)
        _read_tensors(cursor, tensors, elements)
    except LimitError as error:
        problem, elements = error.message, Counter()
    return _facts(values, elements, problem)


def _facts(values: dict[str, Any], elements: Counter[str], problem: str | None) -> Facts:
    file_type = values.get("general.file_type")
    quantization = _FILE_TYPES.get(file_type) if isinstance(file_type, int) else None
    if quantization is None and elements[_QUANTIZED]:
        quantization = _QUANTIZED
    kinds = {"adapter": "adapter", "mmproj": "projector"}
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return Facts(
        "gguf",
        architecture=texts.get("general.architecture"),
        elements=elements,
        quantization=quantization,
        name=texts.get("general.name"),
        license=texts.get("general.license"),
        bases=tuple(texts[key] for key in sorted(texts) if key.endswith(".repo_url")),
        kind=kinds.get(texts.get("general.type", "")),
        problem=problem,
    )


def _read_keys(cursor: Cursor, count: int, values: dict[str, Any]) -> None:
    """Raises: IntegrityError, LimitError; `values` then holds what came before."""
    if count > KEY_LIMIT:
        raise LimitError(f"the header says that it has {count} keys, and {KEY_LIMIT} are read")
    seen: set[bytes] = set()
    strings = STRING_LIMIT
    for _ in range(count):
        key = cursor.take(_length(cursor, _NAME_LIMIT))
        if key in seen:
            raise IntegrityError(f"the key {key[:80]!a} occurs twice")
        seen.add(key)
        kind = cursor.number(_U32)
        name = short_text(key)
        wanted = name is not None and _WANTED.fullmatch(name) is not None
        if kind == _STRING:
            length = cursor.number(_U64)
            if wanted and name is not None and length <= TEXT_LIMIT:
                values[name] = short_text(cursor.take(length))
            else:
                cursor.skip(length)
        elif kind == _ARRAY:
            strings = _skip_list(cursor, strings)
        else:
            value = _scalar(kind).unpack(cursor.take(_scalar(kind).size))[0]
            if wanted and name is not None:
                values[name] = value


def _skip_list(cursor: Cursor, strings: int) -> int:
    kind, count = cursor.number(_U32), cursor.number(_U64)
    if kind != _STRING:  # lists in lists are refused with all other unknown types
        cursor.skip(_scalar(kind).size * count)
        return strings
    if count > strings:
        raise LimitError(f"the header says that it has a list of {count} texts, and {STRING_LIMIT} are passed over")
    for _ in range(count):
        cursor.skip(cursor.number(_U64))
    return strings - count


def _read_tensors(cursor: Cursor, count: int, elements: Counter[str]) -> None:
    if count > TENSOR_LIMIT:
        raise LimitError(f"the header says that it has {count} tensors, and {TENSOR_LIMIT} are read")
    for number in range(count):
        cursor.skip(_length(cursor, _NAME_LIMIT))
        dimensions = cursor.number(_U32)
        if dimensions > _DIMENSIONS:
            raise IntegrityError(f"tensor {number} has {dimensions} dimensions")
        shape = [cursor.number(_U64) for _ in range(dimensions)]
        kind = cursor.number(_U32)
        cursor.skip(_U64.size)
        elements[_PRECISIONS.get(kind, _QUANTIZED)] += product(shape, what=f"tensor {number}")


def _length(cursor: Cursor, limit: int) -> int:
    length = cursor.number(_U64)
    if length > limit:
        raise IntegrityError(f"a name in the header has {length} bytes (at most {limit})")
    return length


def _scalar(kind: int) -> struct.Struct:
    found = _SCALARS.get(kind)
    if found is None:
        raise IntegrityError(f"type {kind} of a value is not known")
    return found
