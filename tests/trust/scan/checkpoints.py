"""Checkpoints of PyTorch made byte by byte, as `torch.save` writes them, and models of other libraries."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence

_MAGIC = 0x1950A86A20F9469CFC6C


def state_dict(tensors: Mapping[str, tuple[str, Sequence[int]]] | None = None, *, extra: bytes = b"") -> bytes:
    """The `data.pkl` of a state dict: name to storage class and shape. `extra` are opcodes before the end."""
    listed = tensors or {"weight": ("FloatStorage", [4, 2]), "bias": ("FloatStorage", [4])}
    raw = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
    for number, (name, (storage, shape)) in enumerate(listed.items()):
        count = 1
        for length in shape:
            count *= length
        raw += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + _text("storage")
        raw += b"ctorch\n" + storage.encode() + b"\n" + _text(str(number)) + _text("cpu") + _int(count) + b"tQ"
        raw += b"K\x00" + b"(" + b"".join(map(_int, shape)) + b"t(" + b"K\x01" * len(shape) + b"t"
        raw += b"\x89ccollections\nOrderedDict\n)RtR"
    return raw + b"u" + extra + b"."


def torch_zip(data: bytes | None = None, *, root: str = "archive", storages: int = 2, size: int = 64) -> bytes:
    """As PyTorch's own writer makes it: sizes after the data, and data on multiples of 64 bytes."""
    members = {f"{root}/data.pkl": state_dict() if data is None else data, f"{root}/byteorder": b"little"}
    members |= {f"{root}/data/{number}": bytes([number + 1]) * size for number in range(storages)}
    members |= {f"{root}/version": b"3\n", f"{root}/.data/serialization_id": b"0" * 40}
    return zip_of(members)


def zip_of(members: Mapping[str, bytes], *, flags: int = 0x0808) -> bytes:
    raw, directory = bytearray(), bytearray()
    for name, content in members.items():
        offset, encoded, crc = len(raw), name.encode(), zlib.crc32(content)
        padding = -(offset + 30 + len(encoded) + 4) % 64
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        known = (0, 0, 0) if flags & 8 else (crc, len(content), len(content))
        raw += struct.pack("<4s5H3I2H", b"PK\3\4", 0, flags, 0, 0, 0, *known, len(encoded), len(extra))
        raw += encoded + extra + content
        if flags & 8:
            raw += struct.pack("<4s3I", b"PK\7\10", crc, len(content), len(content))
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, flags, 0, 0, 0, crc, len(content), len(content), len(encoded),
            0, 0, 0, 0, 0, offset,
        ) + encoded  # fmt: skip
    start, count = len(raw), len(members)
    return bytes(raw + directory) + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)


def torch_legacy(data: bytes | None = None) -> bytes:
    """Before 1.6: five pickles, then the storages."""
    head = pickle.dumps(_MAGIC, protocol=2) + pickle.dumps(1001, protocol=2)
    head += pickle.dumps({"little_endian": True, "protocol_version": 1001}, protocol=2)
    storages = struct.pack("<q", 8) + bytes(range(1, 33)) + struct.pack("<q", 4) + bytes(range(1, 17))
    return head + (state_dict() if data is None else data) + pickle.dumps(["0", "1"], protocol=2) + storages


def torch_tar(data: bytes) -> bytes:
    """Before 0.2: a tar."""
    members = {
        "sys_info": pickle.dumps({}, 2),
        "pickle": data,
        "storages": pickle.dumps(0, 2),
        "tensors": b"\x80\x02K\0.",
    }
    return tar_of(members)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def plain_zip(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)
