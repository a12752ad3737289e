"""What a header said, and the reading of it within limits."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from mlkit.errors import IntegrityError, LimitError

TEXT_LIMIT: Final = 4096
"""Bytes of one text out of a header: names, URLs and versions are shorter."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one file of weights; what its header does not say is None or empty."""

    format: str
    framework: str | None = None
    architecture: str | None = None
    elements: Mapping[str, int] = field(default_factory=dict)
    """Numbers in the tensors, by precision (`bf16`); empty where they were not counted."""
    quantization: str | None = None
    name: str | None = None
    license: str | None = None
    bases: tuple[str, ...] = ()
    """URLs of the models that this one was made from."""
    external: tuple[str, ...] = ()
    """Files beside this one that hold its tensors, as it names them: not to be trusted as paths."""
    kind: str | None = None
    """`adapter` or `projector` where the file is no model by itself."""
    problem: str | None = None
    """Why the header, or the rest of it, was not read."""


class Cursor:
    """A place in a file that only moves forward, and not past `budget` bytes read. Skipping costs nothing."""

    def __init__(self, stream: BinaryIO, size: int, *, budget: int) -> None:
        self._stream = stream
        self._size = size
        self._budget = budget
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes up to the end of the file."""
        return self._size - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises: IntegrityError where the file ends before, LimitError."""
        self._advance(count)
        self._budget -= count
        if self._budget < 0:
            raise LimitError("the header is longer than what is read of one")
        taken = self._stream.read(count)
        if len(taken) != count:
            raise IntegrityError("the header is cut off")
        return taken

    def skip(self, count: int) -> None:
        """Go on `count` bytes later. Raises: IntegrityError beyond the end of the file."""
        self._advance(count)
        self._stream.seek(count, 1)

    def number(self, layout: struct.Struct) -> int:
        """One integer. Raises: like `take`."""
        value = layout.unpack(self.take(layout.size))[0]
        assert isinstance(value, int)
        return value

    def _advance(self, count: int) -> None:
        if count > self.left:
            raise IntegrityError(f"the header says that {count} bytes follow, and {self.left} do")
        self.position += count


def product(dimensions: list[int], *, what: str) -> int:
    """Numbers in a tensor. Raises: IntegrityError for more dimensions or numbers than a tensor can have."""
    # ONNX and safetensors set no limit; NumPy has 64, and no operator takes more than a dozen.
    if len(dimensions) > 64 or any(not 0 <= size < 2**63 for size in dimensions):
        raise IntegrityError(f"{what} has a shape that no tensor can have")
    count = 1
    for size in dimensions:
        count *= size
    if count >= 2**63:
        raise IntegrityError(f"{what} has more than 2^63 numbers")
    return count


def short_text(raw: bytes) -> str | None:
    """Text out of a header, None for what is no text on one line."""
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return text if text and len(raw) <= TEXT_LIMIT and text.isprintable() else None
