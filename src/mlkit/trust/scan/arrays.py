"""Arrays of NumPy: a header in Python's own notation, then numbers, or a pickle where they are objects."""

from __future__ import annotations

import ast
import re
from typing import Final

from mlkit.trust.scan.look import Look
from mlkit.trust.scan.pickles import scan_pickles
from mlkit.trust.scan.source import Part, Source

NUMPY_MAGIC: Final = b"\x93NUMPY"
_HEADER_LIMIT: Final = 64 * 1024  # NumPy reads 10,000 bytes where nobody raises its limit
_TYPE = re.compile(r"[<>=|]?(?:[biufc?]|[SUVMma])[0-9]*(?:\[[0-9]*[A-Za-z]+(?:/[0-9]+)?\])?")
_OBJECT = re.compile(r"[<>=|]?O[0-9]*|object_?")
_DEPTH_LIMIT: Final = 16


def scan_array(source: Source, look: Look) -> None:
    """A `.npy` file. Raises: LimitError."""
    head = source.read_at(0, 12)
    version = head[6] if len(head) == 12 else 0
    width = {1: 2, 2: 4, 3: 4}.get(version)
    if width is None:
        look.report("format-broken", "the array says a version of its format that is not known")
        return
    length = int.from_bytes(head[8 : 8 + width], "little")
    start = 8 + width + length
    raw = source.read_at(8 + width, min(length, _HEADER_LIMIT))
    descr = _descr(raw) if len(raw) == length else None
    kind = _kind(descr)
    if kind is None:
        look.report("format-broken", "the header of the array is none that NumPy writes")
        scan_pickles(Part(source, min(start, source.size), source.size - start), look, is_claimed=False)
        return
    rest = Part(source, start, source.size - start)
    if kind == "objects":
        look.report("numpy-objects", "the array holds Python objects, as a pickle")
        scan_pickles(rest, look, is_claimed=True)


def _descr(raw: bytes) -> object:
    """The type of the elements, as NumPy reads it: values of Python, no calls and no names. None for what is none."""
    try:
        value = ast.literal_eval(raw.decode("latin-1").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        return None
    return value["descr"]


def _kind(descr: object, depth: int = 0) -> str | None:
    """`numbers` or `objects`, None for what is no type."""
    if isinstance(descr, str):
        return "objects" if _OBJECT.fullmatch(descr) else "numbers" if _TYPE.fullmatch(descr) else None
    if not isinstance(descr, list) or depth > _DEPTH_LIMIT:
        return None
    kinds = [_kind(field[1], depth + 1) if isinstance(field, tuple) and len(field) > 1 else None for field in descr]
    if None in kinds:
        return None
    return "objects" if "objects" in kinds else "numbers"
