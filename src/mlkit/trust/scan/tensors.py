"""Formats that hold tensors and nothing else, when they are sound: safetensors and GGUF."""

from __future__ import annotations

import io
from typing import BinaryIO, Final, cast

from mlkit.archive.headers.gguf_check import check_gguf
from mlkit.archive.headers.safetensors import HEADER_LIMIT, check_safetensors
from mlkit.errors import IntegrityError
from mlkit.trust.scan.look import Look
from mlkit.trust.scan.source import Source
from mlkit.trust.scan.tars import SourceFile
from mlkit.trust.scan.templates import scan_template

GGUF_MAGIC: Final = b"GGUF"
_HEADER_LIMIT: Final = 8 * 1024 * 1024  # 80,000 tensors
_BUFFER: Final = 256 * 1024


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """Whether the first bytes are a length that can be, and the beginning of a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(size - 8, HEADER_LIMIT)


def scan_safetensors(source: Source, look: Look) -> None:
    """Raises: LimitError."""
    head = source.read_at(8, 1)
    try:
        check_safetensors(_stream(source), source.size, limit=_HEADER_LIMIT)
        if head != b"{":
            raise IntegrityError("its header does not begin with {")
    except IntegrityError as error:
        look.report("safetensors-broken", f"no sound safetensors: {error.message}")


def scan_gguf(source: Source, look: Look) -> None:
    """Raises: LimitError."""
    try:
        templates = check_gguf(_stream(source), source.size)
    except IntegrityError as error:
        look.report("gguf-broken", f"no sound GGUF: {error.message}")
        return
    for key, template in templates.items():
        scan_template(template.decode("utf-8", "replace"), look.inside(key))


def _stream(source: Source) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(SourceFile(source), _BUFFER))
