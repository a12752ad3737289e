"""Whether a GGUF file keeps what its header says: loaders are written in C, and several believed it."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from mlkit.archive.headers.facts import Cursor
from mlkit.archive.headers.gguf import KEY_LIMIT, READ_LIMIT, STRING_LIMIT, TENSOR_LIMIT
from mlkit.errors import IntegrityError, LimitError

TEMPLATE_LIMIT: Final = 1024 * 1024
"""Bytes of a chat template that are given back; the longest have 30,000."""

_NAME_LIMIT: Final = 65535
_DIMENSIONS: Final = 4  # ggml.h, GGML_MAX_DIMS
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_DEFAULT_ALIGNMENT: Final = 32
_TEMPLATE: Final = b"tokenizer.chat_template"
# ggml.h, enum ggml_type: numbers in a block, bytes of a block.
_BLOCKS: Final = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82)},
    **{23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2)},
    **{34: (256, 54), 35: (256, 66), 39: (32, 17)},
}


def check_gguf(stream: BinaryIO, size: int) -> dict[str, bytes]:
    """The chat templates by their keys, of a file whose tensors all lie in it, apart from each other.

    Raises: IntegrityError for what contradicts itself or the file; LimitError for more than is read of a header.
    """
    cursor = Cursor(stream, size, budget=READ_LIMIT)
    if cursor.take(4) != b"GGUF":
        raise IntegrityError("it does not begin with GGUF")
    version = cursor.number(_U32)
    if version not in (2, 3):
        raise IntegrityError(f"version {version} of GGUF is not known (expected 2 or 3, little endian)")
    tensors, keys = cursor.number(_U64), cursor.number(_U64)
    if keys > KEY_LIMIT or tensors > TENSOR_LIMIT:
        raise IntegrityError(f"the header says that it has {keys} keys and {tensors} tensors, more than any model")
    alignment, templates = _keys(cursor, keys)
    spans = [_tensor(cursor, number, alignment) for number in range(tensors)]
    if len({name for name, _, _ in spans}) != len(spans):
        raise IntegrityError("two tensors have one name")
    start = -(-cursor.position // alignment) * alignment
    place = 0
    for name, offset, length in sorted(spans, key=lambda span: span[1:]):
        what = f"the tensor {name[:80]!a}"
        if offset < place:
            raise IntegrityError(f"{what} lies over the one before it")
        place = offset + length
        if start + place > size:
            raise IntegrityError(f"{what} ends at {start + place}, and the file has {size} bytes")
    return templates


def _keys(cursor: Cursor, count: int) -> tuple[int, dict[str, bytes]]:
    alignment, templates = _DEFAULT_ALIGNMENT, dict[str, bytes]()
    seen: set[bytes] = set()
    strings = STRING_LIMIT
    for _ in range(count):
        key = _name(cursor)
        if key in seen:
            raise IntegrityError(f"the key {key[:80]!a} occurs twice")
        seen.add(key)
        kind = cursor.number(_U32)
        if kind == _STRING:
            length = cursor.number(_U64)
            if key.startswith(_TEMPLATE) and length <= TEMPLATE_LIMIT:
                templates[key.decode("utf-8", "replace")] = cursor.take(length)
            else:
                cursor.skip(length)
        elif kind == _ARRAY:
            strings -= _skip_list(cursor, strings)
        elif kind not in _SIZES:
            raise IntegrityError(f"type {kind} of a value is not known")
        elif key == b"general.alignment":
            alignment = cursor.number(_U32) if kind == _UINT32 else 0
            if alignment % 8 or alignment & (alignment - 1) or not 0 < alignment <= 1 << 20:
                raise IntegrityError(f"the alignment is {alignment} (expected a power of two from 8 on)")
        else:
            cursor.skip(_SIZES[kind])
    return alignment, templates


def _skip_list(cursor: Cursor, left: int) -> int:
    """Pass a list; gives how many texts it has."""
    kind, count = cursor.number(_U32), cursor.number(_U64)
    if kind != _STRING:
        if kind not in _SIZES:  # lists in lists too: nothing writes them, and reading them recurses
            raise IntegrityError(f"type {kind} of the values in a list is not known")
        cursor.skip(_SIZES[kind] * count)
        return 0
    if count > left:
        if count * _U64.size > cursor.left:
            raise IntegrityError(f"the header says that it has a list of {count} texts, and {cursor.left} bytes follow")
        raise LimitError(f"the header says that it has a list of {count} texts, and {STRING_LIMIT} are passed over")
    for _ in range(count):
        cursor.skip(cursor.number(_U64))
    return count


def _tensor(cursor: Cursor, number: int, alignment: int) -> tuple[bytes, int, int]:
    """Name, offset and bytes."""
    name = _name(cursor)
    what = f"tensor {number}"
    dimensions = cursor.number(_U32)
    if dimensions > _DIMENSIONS:
        raise IntegrityError(f"{what} has {dimensions} dimensions (at most {_DIMENSIONS})")
    count = 1
    row = 1
    for place in range(dimensions):
        length = cursor.number(_U64)
        count *= length
        row = length if place == 0 else row
        if length >= 1 << 63 or count >= 1 << 63:
            raise IntegrityError(f"{what} has more than 2^63 numbers")
    kind, offset = cursor.number(_U32), cursor.number(_U64)
    if kind not in _BLOCKS:
        raise IntegrityError(f"{what} has numbers of type {kind}, which is not known")
    block, size = _BLOCKS[kind]
    if row % block:
        raise IntegrityError(f"{what} has rows of {row} numbers, in blocks of {block}")
    if offset % alignment:
        raise IntegrityError(f"{what} begins at {offset}, which is no multiple of {alignment}")
    return name, offset, count // block * size


def _name(cursor: Cursor) -> bytes:
    length = cursor.number(_U64)
    if length > _NAME_LIMIT:
        raise IntegrityError(f"a name in the header has {length} bytes (at most {_NAME_LIMIT})")
    return cursor.take(length)
