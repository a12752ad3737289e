"""Arrays of NumPy: a header in Python's own notation, then numbers, or a pickle where they are objects."""

from __future__ import annotations

import re
from typing import Final

from mlkit.trust.scan.look import Look
from mlkit.trust.scan.pickles import scan_pickles
from mlkit.trust.scan.source import Part, Source

NUMPY_MAGIC: Final = b"\x93NUMPY"
_HEADER_LIMIT: Final = 1024 * 1024
# What numpy.lib.format writes; the order of the three names is theirs.
_HEADER = re.compile(
    r"\{\s*'descr'\s*:\s*(?P<descr>.+?)\s*,\s*'fortran_order'\s*:\s*(?:True|False)\s*,"
    r"\s*'shape'\s*:\s*\((?P<shape>[0-9,\sL]*)\)\s*,?\s*\}\s*",
    re.DOTALL,
)
_TYPE = re.compile(r"'(?:[<>=|]?[biufcSUVMmaO?][0-9]*(?:\[[0-9a-zA-Z]+\])?)'")
_NAME = re.compile(r"'(?:[^'\\]|\\.)*'")


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
    found = _HEADER.fullmatch(raw.decode("latin-1")) if len(raw) == length else None
    if found is None or not _is_type(found["descr"]):
        look.report("format-broken", "the header of the array is none that NumPy writes")
        scan_pickles(Part(source, min(start, source.size), source.size - start), look, is_claimed=False)
        return
    rest = Part(source, start, source.size - start)
    if _has_objects(found["descr"]):
        look.report("numpy-objects", "the array holds Python objects, as a pickle")
        scan_pickles(rest, look, is_claimed=True)


def _is_type(descr: str) -> bool:
    if descr.startswith("["):
        # Fields: names and types, nested. No calls, no names without quotes.
        return not _NAME.sub("", descr).strip("[](), \t\n0123456789")
    return _TYPE.fullmatch(descr) is not None


def _has_objects(descr: str) -> bool:
    return any(re.fullmatch(r"'[<>=|]?O[0-9]*'", text) for text in _NAME.findall(descr))
