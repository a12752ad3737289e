"""Tar headers, made by hand: the same bytes for the same names, sizes and modes on every machine.

POSIX.1-2001 (ustar, with a pax header only where ustar cannot say it). Times, owners and groups are zero and there are
no names of users. Nothing here does I/O; `reader` reads tars.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)
"""What a tar ends with: two blocks of zeros (POSIX.1-2001, pax, "ustar Interchange Format")."""

_MAX_NAME = 100
_MAX_PREFIX = 155
_MAX_OCTAL_SIZE = 8**11 - 1
_ZEROS = bytes(BLOCK)
# Everything from the mtime on but the checksum and the typeflag; from the magic to the device numbers.
_OWNERS = b"0000000\0" * 2
_MTIME = b"00000000000\0"
_TAIL = b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
_FIXED_SUM = sum(_OWNERS) + sum(_MTIME) + sum(b" " * 8) + sum(_TAIL)
_PAX_NAME = b"././@PaxHeader"


@dataclass(frozen=True, slots=True)
class Member:
    """A file or directory of a tar."""

    name: str
    """POSIX path relative to the root, directories without a slash at the end."""
    size: int
    """Bytes of data; 0 for a directory."""
    mode: int
    """0o644 or 0o755."""
    is_dir: bool = False


def tar_header(member: Member) -> bytes:
    """The block before a member's data, preceded by a pax header where the name or the size does not fit into it."""
    name = member.name.encode()
    if member.is_dir:
        name += b"/"
    typeflag = b"5" if member.is_dir else b"0"
    if len(name) <= _MAX_NAME and member.size <= _MAX_OCTAL_SIZE and name.isascii():
        return _block(name, b"", member.mode, member.size, typeflag)
    return _long_header(name, member, typeflag)


def link_header(name: str, target: str) -> bytes:
    """The header of a symbolic link. Kits have none; images have, to show one file in two places."""
    path, to = name.encode(), target.encode()
    if max(len(path), len(to)) <= _MAX_NAME and name.isascii() and target.isascii():
        return _block(path, b"", 0o777, 0, b"2", linkname=to)
    body = b"".join((_record(b"linkpath", to), _record(b"path", path)))
    header = _block(_PAX_NAME, b"", 0o644, len(body), b"x") + body + padding(len(body))
    return header + _block(_plain(name), b"", 0o777, 0, b"2", linkname=_plain(target))


def padding(size: int) -> bytes:
    """The zeros that fill the last block of `size` bytes of data."""
    return _ZEROS[: -size % BLOCK]


def layout_offsets(members: Iterable[Member]) -> tuple[tuple[int, ...], int]:
    """Where each member's data begins in the tar of these members, and the size of that tar with its end blocks."""
    position = 0
    offsets: list[int] = []
    for member in members:
        position += _header_size(member)
        offsets.append(position)
        position += member.size + -member.size % BLOCK
    return tuple(offsets), position + len(END)


def _header_size(member: Member) -> int:
    length = len(member.name) + member.is_dir
    if length <= _MAX_NAME and member.size <= _MAX_OCTAL_SIZE and member.name.isascii():
        return BLOCK
    return len(tar_header(member))


def _block(name: bytes, prefix: bytes, mode: int, size: int, typeflag: bytes, *, linkname: bytes = b"") -> bytes:
    mode_field = b"%07o\0" % mode
    size_field = b"%011o\0" % size
    checksum = _FIXED_SUM + sum(name) + sum(prefix) + sum(mode_field) + sum(size_field) + typeflag[0] + sum(linkname)
    return b"".join(
        (
            name.ljust(_MAX_NAME, b"\0"),
            mode_field,
            _OWNERS,
            size_field,
            _MTIME,
            b"%06o\0 " % checksum,
            typeflag,
            linkname.ljust(_MAX_NAME, b"\0"),
            _TAIL,
            prefix.ljust(_MAX_PREFIX + 12, b"\0"),
        )
    )


def _long_header(name: bytes, member: Member, typeflag: bytes) -> bytes:
    records: list[bytes] = []
    prefix, short = _split(name)
    if not short:
        records.append(_record(b"path", name))
        short = _plain(name.decode())
    size = member.size
    if size > _MAX_OCTAL_SIZE:
        records.append(_record(b"size", b"%d" % size))
        size = 0
    block = _block(short, prefix, member.mode, size, typeflag)
    if not records:
        return block
    body = b"".join(records)
    return _block(_PAX_NAME, b"", 0o644, len(body), b"x") + body + padding(len(body)) + block


def _plain(name: str) -> bytes:
    """What a reader without pax would see; it has to be a name, not the right one."""
    return name.encode("ascii", "replace")[-_MAX_NAME:].lstrip(b"/")


def _split(name: bytes) -> tuple[bytes, bytes]:
    """An ASCII name as ustar's prefix and name, (b"", b"") where that cannot be done."""
    if not name.isascii():
        return b"", b""
    if len(name) <= _MAX_NAME:
        return b"", name
    # The rightmost slash within the prefix leaves the most room for it; the last byte may be a directory's slash.
    cut = name.rfind(b"/", 0, min(_MAX_PREFIX + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _MAX_NAME:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)
