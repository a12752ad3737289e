"""What stands on the stack of a pickle that is followed without being run. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


class Opaque:
    """Some value; which one does not matter."""

    __slots__ = ()


OPAQUE: Final = Opaque()


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """What a module has under a name: a class or function that the pickle can call."""

    module: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Bytes in the pickle that look like serialized data themselves."""

    offset: int
    size: int


@dataclass(slots=True, eq=False)
class Record:
    """A dictionary, as far as its names are short texts and few."""

    items: dict[str, object] = field(default_factory=dict)
    is_known: bool = True


@dataclass(slots=True, eq=False)
class Made:
    """What one of the few calls made whose result decides how to go on."""

    cls: Global
    args: object
    state: Record | None = None
    raw_state: object = None
    builds: int = 0


DTYPE: Final = ("numpy", "dtype")
ARRAY_WRAPPER: Final = ("joblib.numpy_pickle", "NumpyArrayWrapper")

_NUMBERS = frozenset("biufcmM")
_TEXTS = frozenset("SUV")
_DEPTH_LIMIT: Final = 4


def item_size(dtype: object, depth: int = 0) -> int | None:
    """Bytes of one element of an array of this `Made` dtype, -1 for Python objects; None where nobody can tell."""
    if not isinstance(dtype, Made) or (dtype.cls.module, dtype.cls.name) != DTYPE or dtype.builds > 1:
        return None
    code = dtype.args[0] if isinstance(dtype.args, tuple) and dtype.args else None
    if not isinstance(code, str) or not code or depth > _DEPTH_LIMIT:
        return None
    kind, digits = code[0], code[1:]
    if kind == "O" and digits in ("", "8", "4"):
        return -1
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        return None
    size = int(digits) * (4 if kind == "U" else 1)
    if kind in _NUMBERS and size in (1, 2, 4, 8, 10, 12, 16, 24, 32):
        return size
    # The size of all others may be told again by their state, and then that one counts.
    return size if kind in _TEXTS and dtype.builds == 1 and _keeps(dtype.raw_state, size, depth) else None


def _keeps(state: object, size: int, depth: int) -> bool:
    """Whether the state of a dtype tells the same size, and holds numbers and texts only.

    It is (version, byte order, subarray, names, fields, size, alignment, flags[, metadata]): numpy, dtype.__reduce__.
    """
    if not isinstance(state, tuple) or len(state) < 8 or state[5] != size:
        return False
    if state[2] is not None:
        # A field that is an array itself: (type, shape). Whole arrays are never of such a type.
        inner = item_size(state[2][0], depth + 1) if depth and isinstance(state[2], tuple) and state[2] else None
        return inner is not None and inner >= 0
    names, fields = state[3], state[4]
    if names is None and fields is None:
        return True
    if not isinstance(fields, Record) or not fields.is_known or not isinstance(names, tuple):
        return False
    for told in fields.items.values():
        inner = item_size(told[0], depth + 1) if isinstance(told, tuple) and told else None
        if inner is None or inner < 0:
            return False
    return True
