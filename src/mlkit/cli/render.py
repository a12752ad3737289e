"""Values as text for people and as JSON for programs.

Whatever comes from outside is escaped before it reaches a terminal: control characters, bidirectional and zero-width
marks (threats.md, B19). There is no markup: a square bracket is a square bracket.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

_LEAST = 40  # columns, however narrow the terminal
_CELL_LIMIT = 100  # characters of a value in a table; the whole of it is in --json
_JSON_NAMES = {"cls": "class", "from_": "from"}  # what is no name in Python
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def escape(text: str) -> str:
    """`text` on one line, with everything that a terminal could act on as backslash escapes."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def escape_lines(text: str) -> str:
    """Like `escape`, but lines stay lines; all after the first are indented, so that none can pass for one of ours."""
    return "\n  ".join(escape(line.expandtabs()) for line in text.splitlines())


def escape_document(text: str) -> str:
    """Like `escape`, but newlines and tabs stay what they are."""
    return "".join(
        character if character in "\n\t" or character.isprintable() else _escaped(character) for character in text
    )


def cell(text: str | None, limit: int = _CELL_LIMIT) -> str:
    """A value from outside as it stands in a table: escaped, at most `limit` characters, `-` for none."""
    if text is None or text == "":
        return "-"
    shown = escape(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def room_beside(*widths: int) -> int:
    """Characters that a line of the terminal has left beside columns of these widths; enough to be of use."""
    return max(20, shutil.get_terminal_size().columns - sum(width + 2 for width in widths))


def size(count: int) -> str:
    """Bytes for people, in powers of 1000 as registries and disks are sold: `999 B`, `1.2 MB`."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 999.95 or unit == _UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Time for people: `45 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(digest: Digest) -> str:
    """Enough of a digest to tell kits apart; the whole of it is in --json."""
    return f"{digest.algorithm}:{digest.hex[:12]}"


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def moment(text: str | None) -> str:
    """An RFC 3339 time to the minute, as `2026-01-02 03:04`; what does not look like one is shown escaped."""
    if text is None:
        return "-"
    return cell(text[:16].replace("T", " "))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[str] = frozenset()) -> str:
    """Columns two spaces apart under their headings, those named in `right` flush right; cells are already escaped."""
    lines = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if heading in right else text.ljust(width)
            for heading, text, width in zip(headings, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Lines of at most the width of the terminal; what continues one is indented further. Words are left whole."""
    width = max(_LEAST, min(shutil.get_terminal_size().columns, 120))
    for line in lines:
        text = line.lstrip()
        indent = " " * (len(line) - len(text))
        yield from textwrap.wrap(
            text,
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one pair a line, the values under each other."""
    listed = list(pairs)
    width = max(len(name) for name, _ in listed)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in listed)


def jsonable(value: object) -> Any:
    """What `json.dumps` takes, from the values that the API gives."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, str):
        return value
    if isinstance(value, Digest | Reference | PurePath):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")  # as descriptors have it: the `data` of a referrer
    if dataclasses.is_dataclass(value):
        return {
            _JSON_NAMES.get(field.name, field.name): jsonable(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(jsonable(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, bytearray | memoryview):
        return [jsonable(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")


def document(value: object) -> str:
    """One JSON document; everything beyond ASCII is escaped, so that no locale and no terminal can be upset by it."""
    return json.dumps(jsonable(value), indent=2)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
