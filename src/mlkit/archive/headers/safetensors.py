"""The header of safetensors: the length of a JSON object in eight bytes, then the object (its README, "Format")."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, BinaryIO, TypeGuard

from mlkit.archive.headers.facts import Cursor, Facts, product
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.json_text import parse_object

HEADER_LIMIT = 100_000_000
"""Bytes that the format allows for the header."""
READ_LIMIT = 4 * 1024 * 1024
"""Bytes of a header that is parsed: 40,000 tensors. JSON takes up to thirty times its size in memory."""

_LENGTH = struct.Struct("<Q")
_PRECISIONS = {
    "F64": ("fp64", 64),
    "F32": ("fp32", 32),
    "F16": ("fp16", 16),
    "BF16": ("bf16", 16),
    "F8_E4M3": ("fp8", 8),
    "F8_E5M2": ("fp8", 8),
    "F8_E8M0": ("fp8", 8),
    "F6_E2M3": ("fp6", 6),
    "F6_E3M2": ("fp6", 6),
    "F4": ("fp4", 4),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
    "C64": ("complex64", 64),
}
_FRAMEWORKS = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax", "mlx": "mlx", "paddle": "paddle"}


def read_safetensors(stream: BinaryIO, size: int) -> Facts:
    """What the header tells; the tensors are not read.

    Raises: IntegrityError for what is no header, or contradicts itself or the file's size; LimitError for one of more
    than 4 MiB or 64 levels.
    """
    header, metadata, cursor = _header(stream, size, limit=READ_LIMIT)
    elements: Counter[str] = Counter()
    is_known = True
    for name, tensor in header.items():
        found = _elements(tensor, f"the tensor {name[:80]!a}", room=cursor.left)
        if found is None:
            is_known = False
        else:
            elements[found[0]] += found[1]
    return Facts(
        "safetensors", framework=_FRAMEWORKS.get(metadata.get("format", "")), elements=elements if is_known else {}
    )


def check_safetensors(stream: BinaryIO, size: int, *, limit: int = READ_LIMIT) -> None:
    """Whether every byte of the file belongs to exactly one tensor, or to the header.

    Raises: IntegrityError where it does not, and for a type of number that is not known; LimitError for a header of
    more than `limit` bytes.
    """
    header, _, cursor = _header(stream, size, limit=limit)
    spans: list[tuple[int, int, str]] = []
    for name, tensor in header.items():
        what = f"the tensor {name[:80]!a}"
        if _elements(tensor, what, room=cursor.left) is None:
            raise IntegrityError(f"{what} has numbers of type {str(tensor['dtype'])[:20]!a}, which is not known")
        begin, end = tensor["data_offsets"]
        spans.append((begin, end, what))
    place = 0
    for begin, end, what in sorted(spans):
        if begin != place:
            raise IntegrityError(f"{what} begins at {begin}, and what comes before it ends at {place}")
        place = end
    if place != cursor.left:
        raise IntegrityError(f"{cursor.left - place} bytes at the end belong to no tensor")


def _header(stream: BinaryIO, size: int, *, limit: int) -> tuple[dict[str, Any], dict[str, str], Cursor]:
    """The tensors, the metadata, and where the header ends."""
    cursor = Cursor(stream, size, budget=_LENGTH.size + limit)
    length = cursor.number(_LENGTH)
    if length > min(HEADER_LIMIT, cursor.left):
        raise IntegrityError(f"the header says that it has {length} bytes, and {min(HEADER_LIMIT, cursor.left)} can be")
    if length > limit:
        raise LimitError(f"the header has {length} bytes, and {limit} are read")
    header = parse_object(cursor.take(length), what="its header", limit=limit)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise IntegrityError("__metadata__ of the header is not a mapping of text to text")
    return header, metadata, cursor


def _elements(tensor: Any, what: str, *, room: int) -> tuple[str, int] | None:
    """Precision and count; None for a type of number that came after this was written."""
    if not isinstance(tensor, dict):
        raise IntegrityError(f"{what} is not an object")
    shape, offsets, dtype = tensor.get("shape"), tensor.get("data_offsets"), tensor.get("dtype")
    if not _are_numbers(shape) or not _are_numbers(offsets) or len(offsets) != 2 or not isinstance(dtype, str):
        raise IntegrityError(f"{what} has no dtype, shape and data_offsets as safetensors has them")
    begin, end = offsets
    if not 0 <= begin <= end <= room:
        raise IntegrityError(f"{what} lies at {begin} to {end}, and there are {room} bytes")
    count = product(shape, what=what)
    if dtype not in _PRECISIONS:
        return None
    precision, bits = _PRECISIONS[dtype]
    if count * bits != (end - begin) * 8:
        raise IntegrityError(f"{what} has {count} numbers of {bits} bits in {end - begin} bytes")
    return precision, count


def _are_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int for item in value)
