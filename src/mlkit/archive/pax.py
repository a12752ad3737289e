"""Pax extended headers, as far as they matter for a kit: the name and the size of the next entry.

POSIX.1-2001, pax, "pax Extended Header". Everything else in them (times, owners, attributes) is checked for its form
and ignored, and what would change how the data is read is refused. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.archive.names import shown
from mlkit.errors import IntegrityError, UnsafeError

_MAX_LENGTH_DIGITS = 7
_MAX_SIZE = 2**63 - 1
# Keys that turn the data into something else than the bytes of one regular file.
_REFUSED = ("linkpath", "hdrcharset", "SCHILY.realsize", "SUN.holesdata", "SCHILY.filetype", "LIBARCHIVE.symlinktype")
_REFUSED_PREFIXES = ("GNU.sparse.", "GNU.volume.", "GNU.dumpdir")


@dataclass(frozen=True, slots=True)
class Extended:
    """What extended headers say about the next entry; None where they say nothing."""

    path: bytes | None = None
    size: int | None = None
    is_pax: bool = False

    @property
    def has_path(self) -> bool:
        return self.path is not None


def parse_pax(body: bytes) -> Extended:
    """Read the records of one header, `%d key=value\\n` each.

    Raises: IntegrityError for malformed records and for a key that comes twice; UnsafeError for links, sparse files and
    names with a zero byte.
    """
    records: dict[str, bytes] = {}
    position = 0
    while position < len(body):
        key, value, position = _record(body, position)
        if key in records:
            raise IntegrityError(f"a pax header has {shown(key)} twice")
        if key in _REFUSED or key.startswith(_REFUSED_PREFIXES):
            raise UnsafeError(f"a pax header with {shown(key)} (expected a plain regular file or directory)")
        records[key] = value
    path = records.get("path")
    if path is not None and (not path or b"\0" in path):
        raise UnsafeError(f"{path[:200]!r}: a pax name that is empty or has a zero byte in it")
    return Extended(path, _size(records.get("size")), is_pax=True)


def _record(body: bytes, start: int) -> tuple[str, bytes, int]:
    """The record at `start`, and where the next one begins."""
    space = body.find(b" ", start, start + _MAX_LENGTH_DIGITS + 1)
    digits = body[start : max(space, start)]
    end = start + int(digits) if digits.isdigit() and not digits.startswith(b"0") else 0
    key, equals, value = body[space + 1 : max(end - 1, 0)].partition(b"=")
    if not space < end <= len(body) or body[end - 1 : end] != b"\n" or not equals or not key or b"\0" in key:
        raise IntegrityError(f"a pax header with a malformed record {body[start : start + 60]!r}")
    try:
        return key.decode("utf-8"), value, end
    except UnicodeDecodeError as error:
        raise IntegrityError(f"a pax header with a key that is not UTF-8, {key[:60]!r}") from error


def _size(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > len(str(_MAX_SIZE)) or int(value) > _MAX_SIZE:
        raise IntegrityError(f"a pax header with a size of {value[:60]!r} (expected a number of bytes)")
    return int(value)
