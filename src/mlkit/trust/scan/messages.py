"""Protocol buffers: graphs of ONNX and TensorFlow, of which only what could do harm is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mlkit.errors import IntegrityError, LimitError
from mlkit.trust.scan.look import Look, escaped
from mlkit.trust.scan.source import Forward, Source
from mlkit.trust.scan.zip_directory import leaves_folder

_FIELD_LIMIT: Final = 3_000_000
_TEXT_LIMIT: Final = 4096
_DEPTH_LIMIT: Final = 48
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message -> field -> what it holds: another message, or a text that is taken. onnx.proto
_ONNX: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function", 14: "Entry"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute", 7: "text:domain"},
    "Function": {7: "Node", 11: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
    "Entry": {1: "text:key", 2: "text:value"},
}
# saved_model.proto, meta_graph.proto, graph.proto, function.proto, node_def.proto
_TENSORFLOW: Final[Mapping[str, Mapping[int, str]]] = {
    "SavedModel": {2: "MetaGraph"},
    "MetaGraph": {2: "Graph"},
    "Graph": {1: "Node", 2: "Library"},
    "Library": {1: "Function"},
    "Function": {3: "Node"},
    "Node": {2: "text:op"},
}
_STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"})
_FILE_OPS: Final = re.compile(
    r"ReadFile|WriteFile|WholeFileReader(?:V2)?|MatchingFiles|PyFunc|PyFuncStateless|EagerPyFunc|NumpyFunction"
    r"|FixedLengthRecordReader(?:V2)?|TextLineReader(?:V2)?|DebugIdentity.*|DebugNanCount|PrintV2|XlaLaunch"
    r"|InitializeTableFromTextFile|LookupTableImport|FileSystemSetConfiguration|RpcCall|TfFileSystemAccess"
)
_QUIET_OPS: Final = frozenset({"PrintV2", "XlaLaunch"})


@dataclass(frozen=True, slots=True)
class _Text:
    owner: str
    name: str
    text: str


def scan_onnx(source: Source, look: Look) -> bool:
    """Whether it is a model of ONNX; what it names is reported. Raises: IntegrityError for no such message."""
    has_graph, key, domains = False, "", set[str]()
    for found in _Walk(source, _ONNX).texts("Model"):
        if isinstance(found, str):
            has_graph |= found == "Graph"
        elif found.name == "key":
            key = found.text
        elif found.name == "value" and key == "location":
            if leaves_folder(found.text):
                look.report("onnx-external", f"keeps a tensor in {escaped(found.text)}")
        elif found.name == "domain":
            domains.add(found.text)
    for domain in sorted(domains - _STANDARD_DOMAINS) if has_graph else ():
        look.report("onnx-operators", f"uses operators of {escaped(domain)}")
    return has_graph


def scan_tensorflow(source: Source, look: Look) -> bool:
    """Whether it is a SavedModel or a graph of TensorFlow. Raises: IntegrityError for no such message."""
    for root in ("SavedModel", "Graph"):
        ops = set[str]()
        try:
            for found in _Walk(source, _TENSORFLOW).texts(root):
                if isinstance(found, _Text):
                    ops.add(found.text)
        except IntegrityError:
            if root == "Graph":
                raise
            continue
        if ops and all(re.fullmatch(r"[A-Za-z_>.][A-Za-z0-9_>.]*", op) for op in ops):
            for op in sorted(ops):
                if _FILE_OPS.fullmatch(op) and op not in _QUIET_OPS:
                    look.report("tensorflow-op", f"has the operation {escaped(op)}")
            return True
    return False


class _Walk:
    def __init__(self, source: Source, schema: Mapping[str, Mapping[int, str]]) -> None:
        self._stream = Forward(source)
        self._schema = schema
        self._size = source.size
        self._fields = _FIELD_LIMIT

    def texts(self, root: str) -> Iterator[_Text | str]:
        """The names of the messages and the texts in them, in the order of the file."""
        try:
            yield from self._message(root, self._size, 0)
        except EOFError as error:
            raise IntegrityError("it is cut off") from error

    def _message(self, kind: str, end: int, depth: int) -> Iterator[_Text | str]:
        if depth > _DEPTH_LIMIT:
            raise LimitError(f"its graphs lie in each other deeper than {_DEPTH_LIMIT} levels")
        fields = self._schema[kind]
        yield kind
        while self._stream.position < end:
            self._fields -= 1
            if self._fields < 0:
                raise LimitError(f"it has more than {_FIELD_LIMIT} fields")
            tag = self._varint()
            number, wire = tag >> 3, tag & 7
            if number == 0 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
                raise IntegrityError("it is no protocol buffer")
            if wire == _VARINT:
                self._varint()
                continue
            length = self._varint() if wire == _BYTES else 8 if wire == _FIXED64 else 4
            stop = self._stream.position + length
            if stop > end:
                raise IntegrityError(f"a field of {length} bytes goes beyond what holds it")
            inner = fields.get(number, "") if wire == _BYTES else ""
            if inner.startswith("text:"):
                text = self._stream.take(min(length, _TEXT_LIMIT)).decode("utf-8", "replace")
                yield _Text(kind, inner.removeprefix("text:"), text)
                self._stream.skip(stop - self._stream.position)
            elif inner:
                yield from self._message(inner, stop, depth + 1)
            else:
                self._stream.skip(length)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._stream.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IntegrityError("a number of more than 64 bits")
