"""A strict reader of tars from anywhere: it reads forward only, and gives out regular files and directories.

Everything is judged by the *effective* name and size, after extended headers have had their say, and where two readers
could understand different things the tar is refused. What a kit has no use for (owners, times, attributes) is ignored.
Nothing here writes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.archive.names import NameSet, check_name, shown
from mlkit.archive.pax import Extended, parse_pax
from mlkit.archive.tar import BLOCK, Member
from mlkit.errors import IntegrityError, LimitError, UnsafeError

_BUFFER = 1 << 20
_ZEROS = bytes(BLOCK)
_SPACES = sum(b" " * 8)
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # whatever their size says, as other readers have it
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"K": "a link with a long target",
    b"S": "a sparse file",
    b"V": "a volume label",
    b"M": "a file continued from another volume",
    b"D": "a directory listing",
    b"X": "an extended header of Solaris",
}
# POSIX.1-2001 needs a pax size from here on; below it, two sizes are a trap for readers that believe the other one.
_PAX_SIZE_FROM = 8**11
_MAX_SIZE = 2**63 - 1


class TarReader:
    """The members of a tar in order, each with a stream of its data that is good until the next one is asked for.

    Accepts ustar, pax, GNU and V7 headers, `./` in front of names, and a global pax header that changes nothing.
    `only` names a directory of a layer of a container image: what lies elsewhere, links and devices too, is read over,
    and what removes files of a layer below is refused. Such a tar may end without zeros, as `umoci insert` leaves it:
    that no byte is missing is for the digest of the layer to say.

    Iterating raises: UnsafeError for links, devices, sparse files and names that `check_name` or `NameSet` refuses;
    IntegrityError for anything malformed, truncated, or found after the end; LimitError. Reading data raises
    IntegrityError where the tar ends early.
    """

    def __init__(self, stream: BinaryIO, *, limits: Limits = DEFAULT_LIMITS, only: str | None = None) -> None:
        self._stream = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Raw(stream), _BUFFER)
        self._limits = limits
        self._only = only
        self._names = NameSet()
        self._headers = 0
        self._total = 0
        self._position = 0

    def __iter__(self) -> Iterator[tuple[Member, BinaryIO]]:
        extended = Extended()
        while (block := self._block()) != _ZEROS:
            self._headers += 1
            if self._headers > self._limits.entries:
                raise LimitError(f"more than {self._limits.entries} entries in a tar")
            self._check_sum(block)
            typeflag = block[156:157]
            if typeflag in (_PAX, _PAX_GLOBAL, _GNU_NAME):
                extended = self._extended(block, typeflag, extended)
                continue
            if self._only is not None and self._is_read_over(block, typeflag, extended):
                extended = Extended()
                continue
            member = self._member(block, typeflag, extended)
            extended = Extended()
            if member is None:
                continue
            data = _Data(self._stream, member)
            yield member, cast(BinaryIO, data)
            data.skip()
            self._pad(member.size)
        if extended != Extended():
            raise IntegrityError("a tar ends after an extended header (expected the entry that it describes)")
        self._end()

    def _block(self) -> bytes:
        block = self._stream.read(BLOCK)
        if self._only is not None and not block:
            return _ZEROS
        if len(block) != BLOCK:
            where = "within a header" if block else "without the two blocks of zeros that end it"
            raise IntegrityError(f"a tar breaks off {where}, after {self._position + len(block)} bytes")
        self._position += BLOCK
        return block

    def _check_sum(self, block: bytes) -> None:
        told = _number(block[148:156], "checksum", self._position)
        # Most bytes are zeros, and they need not be added.
        actual = sum(block.translate(None, b"\0")) - sum(block[148:156]) + _SPACES
        if told != actual:
            raise IntegrityError(
                f"the tar header before byte {self._position} has the checksum {told} (expected {actual}): "
                "it is damaged, or this is no tar"
            )
        magic = block[257:265]
        # The last bytes belong to the prefix in the format of star, and to nothing in any other.
        if (magic not in (b"ustar\x0000", b"ustar  \0") and any(magic)) or block[508:512] == b"tar\0":
            raise IntegrityError(f"the tar header before byte {self._position} is of an unknown format {magic!r}")

    def _extended(self, block: bytes, typeflag: bytes, before: Extended) -> Extended:
        size = self._size_field(block)
        if typeflag == _GNU_NAME:
            if size > self._limits.path_bytes + 1:
                raise LimitError(f"a name of {size} bytes in a tar (at most {self._limits.path_bytes})")
            if before.has_path or before.is_pax:
                raise IntegrityError("an entry of a tar has more than one extended header for its name")
            body = self._body(size)
            if not body.endswith(b"\0"):
                raise IntegrityError("a long name in a tar does not end in a zero byte")
            return Extended(path=body[:-1])
        if size > self._limits.pax_header:
            raise LimitError(f"a pax header of {size} bytes (at most {self._limits.pax_header})")
        if typeflag == _PAX and before != Extended():
            raise IntegrityError("an entry of a tar has more than one extended header")
        found = parse_pax(self._body(size))
        if typeflag == _PAX:
            return found
        if found.has_path or found.size is not None:
            raise UnsafeError("a global pax header sets the name or the size of every entry")
        return before

    def _body(self, size: int) -> bytes:
        body = self._stream.read(size)
        if len(body) != size:
            raise IntegrityError("a tar breaks off within an extended header")
        self._pad(size)
        return body

    def _pad(self, size: int) -> None:
        """Account for `size` bytes that have been read, and read over the rest of their last block."""
        rest = -size % BLOCK
        self._position += size + rest
        if rest and len(padding := self._stream.read(rest)) != rest and (padding or self._only is None):
            raise IntegrityError(f"a tar breaks off at the end of an entry, before byte {self._position}")

    def _member(self, block: bytes, typeflag: bytes, extended: Extended) -> Member | None:
        """The member that a header describes, None for the root itself."""
        raw = extended.path if extended.path is not None else _short_name(block)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnsafeError(f"{raw[:200]!r}: the name of an entry is not UTF-8") from error
        is_dir = typeflag == b"5" or (typeflag == b"\0" and name.endswith("/"))
        if typeflag not in (b"0", b"\0", b"5"):
            kind = _REFUSED.get(typeflag, f"of the unknown type {typeflag!r}")
            raise UnsafeError(f"{shown(name)} is {kind} (expected a regular file or a directory)")
        size = self._size(block, extended, name)
        if is_dir:
            if size:
                raise IntegrityError(f"{shown(name)}: a directory with {size} bytes of data")
            name = name.removesuffix("/")
        name = name.removeprefix("./")
        # `tar -C directory .` begins with the root, which is there anyway.
        if is_dir and name == ".":
            return None
        check_name(name, limits=self._limits)
        if is_dir:
            self._names.add_directory(name)
            return Member(name, 0, 0o755, is_dir=True)
        self._names.add_file(name)
        mode = 0o755 if _number(block[100:108], "mode", self._position) & 0o100 else 0o644
        return Member(name, size, mode)

    def _is_read_over(self, block: bytes, typeflag: bytes, extended: Extended) -> bool:
        """Whether the member lies outside of `only`, and then its data has been read."""
        raw = extended.path if extended.path is not None else _short_name(block)
        name = raw.removeprefix(b"./").rstrip(b"/").decode("utf-8", "replace")
        if name == self._only or name.startswith(f"{self._only}/"):
            # Whiteouts (OCI image-spec, layer.md, "Representing Changes").
            if name.rpartition("/")[2].startswith(".wh."):
                raise UnsafeError(
                    f"{shown(name)} removes a file of a layer below (expected layers that only add files)"
                )
            return False
        size = 0 if typeflag in _WITHOUT_DATA else self._size(block, extended, name)
        _Data(self._stream, Member(name, size, 0o644)).skip()
        self._pad(size)
        return True

    def _size(self, block: bytes, extended: Extended, name: str) -> int:
        size = self._size_field(block)
        if extended.size is not None and extended.size != size:
            if extended.size < _PAX_SIZE_FROM or size not in (0, _PAX_SIZE_FROM - 1):
                raise IntegrityError(
                    f"{shown(name)}: {size} bytes by the header, {extended.size} by the pax header (expected one size)"
                )
            size = extended.size
        self._total += size
        if self._limits.max_size is not None and self._total > self._limits.max_size:
            raise LimitError(f"{shown(name)}: the tar holds more than {self._limits.max_size} bytes of files")
        return size

    def _size_field(self, block: bytes) -> int:
        field = block[124:136]
        # GNU's base-256 form of a size that has no room in octal digits.
        if field[0] == 0x80:
            size = int.from_bytes(field[1:], "big")
            if size > _MAX_SIZE:
                raise IntegrityError(f"the tar header before byte {self._position} has a size of {size} bytes")
            return size
        return _number(field, "size", self._position)

    def _end(self) -> None:
        """Read to the end of the stream, which is also what makes a verifying stream verify."""
        if self._block() != _ZEROS:
            raise IntegrityError(f"a tar goes on after a block of zeros, at byte {self._position - BLOCK}")
        padding = 0
        while chunk := self._stream.read1(_BUFFER):
            if chunk.count(0) != len(chunk):
                raise IntegrityError(f"bytes after the end of a tar, which ends at byte {self._position}")
            padding += len(chunk)
            if padding > self._limits.padding:
                raise LimitError(f"more than {self._limits.padding} bytes of zeros after the end of a tar")


class _Raw(io.RawIOBase):
    """Any binary stream as a raw one; closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read
        self._readinto = getattr(stream, "readinto", None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # RawIOBase is typed wider than it is used
        if self._readinto is not None:
            return int(self._readinto(buffer) or 0)
        chunk = self._read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Data(io.RawIOBase):
    """The data of one member."""

    def __init__(self, stream: io.BufferedReader, member: Member) -> None:
        self._stream = stream
        self._name = member.name
        self._left = member.size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Exactly `size` bytes unless the data ends before."""
        count = self._left if size is None or size < 0 else min(size, self._left)
        chunk = self._stream.read(count)
        if len(chunk) != count:
            raise self._truncated(len(chunk))
        self._left -= count
        return chunk

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # RawIOBase is typed wider than it is used
        view = memoryview(buffer)[: self._left]
        count = self._stream.readinto(view)
        if not count and view:
            raise self._truncated(0)
        self._left -= count
        return count

    def skip(self) -> None:
        while self._left:
            self.read(_BUFFER)

    def _truncated(self, got: int) -> IntegrityError:
        return IntegrityError(
            f"{shown(self._name)}: a tar breaks off {self._left - got} bytes before the end of this file"
        )


def _short_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:265] != b"ustar\x0000":
        return name
    prefix = block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _number(field: bytes, what: str, position: int) -> int:
    """Octal digits, spaces in front of them allowed, and zeros or spaces after them. No digits are 0."""
    digits = field.rstrip(b" \0").lstrip(b" ")
    if digits.strip(b"01234567"):
        raise IntegrityError(f"the tar header before byte {position} has a {what} of {field!r} (expected octal digits)")
    return int(digits or b"0", 8)
