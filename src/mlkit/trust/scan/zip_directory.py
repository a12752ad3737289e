"""The directory of a ZIP, read strictly: whatever two programs could read differently is told (APPNOTE 6.3.10)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mlkit.errors import IntegrityError
from mlkit.trust.scan.look import Look, escaped
from mlkit.trust.scan.source import Source

ENCRYPTED: Final = 0x1
DESCRIPTOR: Final = 0x8
"""Flag: sizes and sum stand behind the data, and may be zero before it."""

_END = struct.Struct("<4s4H2IH")
_END64_PLACE = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_COMMENT_LIMIT = 65_535
_DIRECTORY_LIMIT = 32 * 1024 * 1024  # 65,535 members with names of 400 bytes
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the central directory tells it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    """Of its local header, in the file."""

    @property
    def is_dir(self) -> bool:
        return self.name.endswith("/")


def has_end(source: Source) -> bool:
    """Whether the file ends as a ZIP does, whatever it begins with."""
    size = source.size
    tail = source.read_at(max(0, size - _COMMENT_LIMIT - _END.size), _COMMENT_LIMIT + _END.size)
    return bool(_ends(tail))


def read_directory(source: Source, look: Look) -> list[Member]:
    """Every member; contradictions are reported. Raises: IntegrityError where there is no directory; LimitError."""
    size = source.size
    tail_at = max(0, size - _COMMENT_LIMIT - _END.size - _END64.size - _END64_PLACE.size)
    tail = source.read_at(tail_at, size - tail_at)
    ends = _ends(tail)
    if not ends:
        raise IntegrityError("it has no directory of a ZIP")
    at = ends[-1]
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        look.report("zip-broken", "bytes follow the end of the ZIP")
    directory_end = tail_at + at
    if _FULL32 in (length, offset) or _FULL16 in (count, here):
        count, length, offset, directory_end = _large(tail, at, tail_at)
    elif disk or first_disk or here != count:
        look.report("zip-broken", "the ZIP says that it lies on several disks")
    start = directory_end - length
    shift = start - offset
    # One that lies in the data belongs to a ZIP in this one, unless its comment would reach to the end of the file.
    if any(tail_at + end >= start or _reaches_end(tail, end) for end in ends[:-1]):
        look.report("zip-broken", "the ZIP has more than one end, and programs choose different ones")
    if shift < 0 or start < 0:
        raise IntegrityError(f"its directory of {length} bytes at {offset} cannot lie there")
    if shift:
        look.report("zip-broken", f"{shift} bytes lie in front of the ZIP")
    if length > _DIRECTORY_LIMIT:
        raise IntegrityError(f"its directory has {length} bytes")
    look.budget.member(count)
    members = _members(source.read_at(start, length), count, shift)
    _check_names(members, look)
    _check_places(members, start, look)
    return members


def data_place(source: Source, member: Member, look: Look) -> int:
    """Where the member's data begins; a local header that says otherwise than the directory is reported.

    Raises: IntegrityError where there is no local header.
    """
    raw = source.read_at(member.offset, _LOCAL.size)
    if len(raw) != _LOCAL.size or raw[:4] != b"PK\x03\x04":
        raise IntegrityError(f"there is no header of {escaped(member.name)} at {member.offset}")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra = _LOCAL.unpack(raw)
    name = source.read_at(member.offset + _LOCAL.size, name_length)
    later = bool(flags & DESCRIPTOR)
    differs = (
        name != member.raw_name
        or method != member.method
        or (flags ^ member.flags) & (ENCRYPTED | DESCRIPTOR)
        or (crc != member.crc and not (later and crc == 0))
        or (packed not in (member.packed, _FULL32) and not (later and packed == 0))
        or (size not in (member.size, _FULL32) and not (later and size == 0))
    )
    if differs:
        look.report("zip-broken", f"the header before {escaped(member.name)} says otherwise than the directory")
    return member.offset + _LOCAL.size + int(name_length) + int(extra)


def _ends(tail: bytes) -> list[int]:
    found, at = [], tail.find(b"PK\x05\x06")
    while at >= 0:
        if at + _END.size <= len(tail):
            found.append(at)
        at = tail.find(b"PK\x05\x06", at + 1)
    return found


def _reaches_end(tail: bytes, at: int) -> bool:
    return at + _END.size + int(_END.unpack_from(tail, at)[-1]) == len(tail)


def _large(tail: bytes, at: int, tail_at: int) -> tuple[int, int, int, int]:
    place = at - _END64_PLACE.size
    if place < 0 or tail[place : place + 4] != b"PK\x06\x07":
        raise IntegrityError("its directory is said to be large, and is not there")
    end = _END64_PLACE.unpack_from(tail, place)[2] - tail_at
    # Right before its locator: elsewhere, programs that search and programs that follow the number part ways.
    if end != place - _END64.size or end < 0 or tail[end : end + 4] != b"PK\x06\x06":
        raise IntegrityError("its directory is said to be large, and is not where it should be")
    fields = _END64.unpack_from(tail, end)
    return fields[7], fields[8], fields[9], tail_at + end


def _members(raw: bytes, count: int, shift: int) -> list[Member]:
    members: list[Member] = []
    at = 0
    while at < len(raw):
        if raw[at : at + 4] != b"PK\x01\x02" or at + _CENTRAL.size > len(raw):
            raise IntegrityError("its directory holds what is no entry of a ZIP")
        fields = _CENTRAL.unpack_from(raw, at)
        flags, method, crc = fields[3], fields[4], fields[7]
        packed, size, name_length, extra_length, comment = fields[8:13]
        offset = fields[16]
        at += _CENTRAL.size
        name = raw[at : at + name_length]
        extra = raw[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length + comment
        if at > len(raw):
            raise IntegrityError("its directory ends inside of an entry")
        size, packed, offset = _wide(extra, size, packed, offset)
        text = name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
        members.append(Member(text, name, flags, method, crc, packed, size, offset + shift))
    if len(members) != count:
        raise IntegrityError(f"its directory has {len(members)} entries and says {count}")
    return members


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """Sizes and offset with those of the ZIP64 extra field in place of what does not fit 32 bits (APPNOTE 4.5.3)."""
    wanted = [number for number, value in enumerate(values) if value == _FULL32]
    if not wanted:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 8 * len(wanted) and at + 4 + length <= len(extra):
            found = list(values)
            for place, number in enumerate(wanted):
                found[number] = struct.unpack_from("<Q", extra, at + 4 + 8 * place)[0]
            return tuple(found)
        at += 4 + length
    raise IntegrityError("a member is said to be large, and its size is not there")


def _check_names(members: list[Member], look: Look) -> None:
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            look.report("zip-broken", f"two members are called {escaped(member.name)}")
        seen.add(member.name)
        if leaves_folder(member.name):
            look.report("archive-path", f"the member {escaped(member.name)} lies outside of the archive")
        if member.flags & ENCRYPTED:
            look.report("zip-broken", f"the member {escaped(member.name)} says that it is encrypted")
        if member.method == 0 and member.packed != member.size:
            look.report("zip-broken", f"the member {escaped(member.name)} has two sizes")


def _check_places(members: list[Member], directory: int, look: Look) -> None:
    ordered = sorted(members, key=lambda member: member.offset)
    for number, member in enumerate(ordered):
        following = ordered[number + 1].offset if number + 1 < len(ordered) else directory
        if member.offset + _LOCAL.size + len(member.raw_name) + member.packed > following:
            look.report("zip-broken", f"the member {escaped(member.name)} overlaps what follows it")


def leaves_folder(name: str) -> bool:
    """Whether a path of an archive or config leads out of the folder that it is meant for."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":") or "\0" in name
