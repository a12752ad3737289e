"""Small files of the formats that models come in, made by hand: no library of machine learning."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

GGUF_TYPES = {"u32": 4, "f32": 6, "bool": 7, "str": 8, "list": 9, "u64": 10}


def safetensors(
    tensors: Mapping[str, tuple[str, list[int], int]] | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """`tensors`: dtype, shape and bytes of each."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, (dtype, shape, size) in (tensors or {"w": ("F32", [2, 3], 24)}).items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    return raw_safetensors(json.dumps(header).encode(), b"\1" * offset)


def raw_safetensors(header: bytes, tensors: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + tensors


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def gguf(
    keys: Mapping[str, Any], tensors: Sequence[tuple[str, list[int], int]] = (("token_embd.weight", [32, 4], 2),)
) -> bytes:
    """`tensors`: name, shape and ggml type of each."""
    raw = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    raw += b"".join(text(key) + gguf_value(value) for key, value in keys.items())
    for name, shape, kind in tensors:
        raw += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)
    return raw + b"\0" * 64


def varint(value: int) -> bytes:
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*raw, value])


def field(number: int, value: int | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(
    tensors: Sequence[tuple[list[int], int]] = (([2, 3], 1),), *, producer: str = "pytorch", external: str | None = None
) -> bytes:
    """`tensors`: shape and TensorProto.DataType of each."""
    graph = field(1, field(4, b"Gemm"))  # a node
    for shape, kind in tensors:
        tensor = b"".join(field(1, size) for size in shape) + field(2, kind) + field(8, b"w")
        if external is None:
            tensor += field(9, b"\0" * 24)
        else:
            tensor += field(13, field(1, b"location") + field(2, external.encode())) + field(14, 1)
        graph += field(5, tensor)
    return field(1, 8) + field(2, producer.encode()) + field(7, graph) + field(8, field(2, 17))


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def torch() -> bytes:
    return zipped("archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/version")


def keras() -> bytes:
    return zipped("metadata.json", "config.json", "model.weights.h5")


def bundle() -> bytes:
    return zipped("manifest.json", "server/index.js")


def hdf5(attribute: bytes = b"") -> bytes:
    return b"\x89HDF\r\n\x1a\n" + b"\0" * 88 + attribute + b"\0" * 200


def pickled(module: str = "sklearn.linear_model._logistic") -> bytes:
    """A pickle that names a class; loading it would import that."""
    return b"\x80\x02c" + module.encode() + b"\nLogisticRegression\nq\x00)\x81q\x01."


def plain_pickle() -> bytes:
    return pickle.dumps({"a": 1}, protocol=4)


def tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"12345"))
    return stream.getvalue()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
