"""ONNX: a protocol buffer, of which the tags and short fields are read and the tensors passed over (onnx.proto)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from mlkit.archive.headers.facts import TEXT_LIMIT, Cursor, Facts, product, short_text
from mlkit.errors import IntegrityError, LimitError

READ_LIMIT = 16 * 1024 * 1024
"""Bytes of tags and short fields that are read."""
FIELD_LIMIT = 500_000
"""Fields that are looked at: the largest graphs have 50,000 nodes, each one field here, and some thousand tensors."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# ModelProto, GraphProto, TensorProto, StringStringEntryProto
_PRODUCER, _GRAPH = 2, 7
_INITIALIZER = 5
_DIMS, _DATA_TYPE, _EXTERNAL = 1, 2, 13
_KEY, _VALUE = 1, 2
# TensorProto.DataType of weights; int64 and the like are shapes and indices.
_PRECISIONS = {
    **{1: "fp32", 2: "uint8", 3: "int8", 10: "fp16", 11: "fp64", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8"},
    **{20: "fp8", 21: "uint4", 22: "int4", 23: "fp4"},
}
_FRAMEWORKS = {"pytorch": "pytorch", "tf2onnx": "tensorflow", "skl2onnx": "scikit-learn", "keras2onnx": "keras"}
_DIMENSIONS = 64
_EXTERNAL_FILES = 10_000


def read_onnx(stream: BinaryIO, size: int) -> Facts:
    """What the fields of model and graph tell; what was learned before a limit is kept, with the reason.

    Raises: IntegrityError for what is no such message.
    """
    reader = _Reader(stream, size)
    problem = None
    try:
        reader.model(size)
    except LimitError as error:
        problem = error.message
        reader.elements.clear()
    if not reader.has_graph and problem is None:
        raise IntegrityError("it holds no graph")
    return Facts(
        "onnx",
        framework=_FRAMEWORKS.get(reader.producer or ""),
        elements=reader.elements,
        external=tuple(sorted(reader.external)),
        problem=problem,
    )


class _Reader:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._cursor = Cursor(stream, size, budget=READ_LIMIT)
        self._fields = FIELD_LIMIT
        self.has_graph = False
        self.producer: str | None = None
        self.elements: Counter[str] = Counter()
        self.external: set[str] = set()

    def model(self, end: int) -> None:
        for number, wire, length in self._fields_until(end):
            if number == _PRODUCER and wire == _BYTES and length <= TEXT_LIMIT:
                self.producer = short_text(self._cursor.take(length))
            elif number == _GRAPH and wire == _BYTES:
                self.has_graph = True
                self._graph(self._cursor.position + length)
            else:
                self._pass(wire, length)

    def _graph(self, end: int) -> None:
        for number, wire, length in self._fields_until(end):
            if number == _INITIALIZER and wire == _BYTES:
                self._tensor(self._cursor.position + length)
            else:
                self._pass(wire, length)

    def _tensor(self, end: int) -> None:
        shape: list[int] = []
        kind = 0
        for number, wire, length in self._fields_until(end):
            if number == _DIMS and wire == _VARINT:
                shape.append(self._varint())
            elif number == _DIMS and wire == _BYTES:  # packed
                stop = self._cursor.position + length
                while self._cursor.position < stop and len(shape) <= _DIMENSIONS:
                    shape.append(self._varint())
                self._cursor.skip(max(0, stop - self._cursor.position))
            elif number == _DATA_TYPE and wire == _VARINT:
                kind = self._varint()
            elif number == _EXTERNAL and wire == _BYTES:
                self._external(self._cursor.position + length)
            else:
                self._pass(wire, length)
            if len(shape) > _DIMENSIONS:
                raise IntegrityError(f"a tensor has more than {_DIMENSIONS} dimensions")
        if kind in _PRECISIONS:
            self.elements[_PRECISIONS[kind]] += product(shape, what="a tensor")

    def _external(self, end: int) -> None:
        found: dict[int, str | None] = {}
        for number, wire, length in self._fields_until(end):
            if number in (_KEY, _VALUE) and wire == _BYTES and length <= TEXT_LIMIT:
                found[number] = short_text(self._cursor.take(length))
            else:
                self._pass(wire, length)
        place = found.get(_VALUE)
        if found.get(_KEY) == "location" and place and len(self.external) < _EXTERNAL_FILES:
            self.external.add(place)

    def _fields_until(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, wire type and length of each field; the caller takes the value or passes it."""
        while self._cursor.position < end:
            self._fields -= 1
            if self._fields < 0:
                raise LimitError(f"it has more than {FIELD_LIMIT} fields")
            tag = self._varint()
            number, wire = tag >> 3, tag & 7
            length = self._varint() if wire == _BYTES else {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
            # Groups (3, 4) are of protocol buffers of 2008; ONNX never had them.
            if number == 0 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
                raise IntegrityError("it is no protocol buffer")
            if self._cursor.position + length > end:
                raise IntegrityError(f"a field of {length} bytes goes beyond what holds it")
            yield number, wire, length

    def _pass(self, wire: int, length: int) -> None:
        if wire == _VARINT:
            self._varint()
        else:
            self._cursor.skip(length)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._cursor.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IntegrityError("a number of more than 64 bits")
