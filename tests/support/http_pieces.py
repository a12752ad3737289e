"""One direction of an HTTP/1.1 connection taken apart into heads and bodies, while it passes by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

ENDLESS = 1 << 62
"""The length of a body that ends with its connection."""

CHUNKED = -1
"""The length of a body that comes in chunks of its own framing."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that belong together."""

    raw: bytes
    kind: Literal["head", "framing", "body"]
    """`framing` is what stands between chunks."""
    is_last: bool = False
    """Whether the message is complete with it."""


class Pieces:
    """`start` is shown each head, and gives what goes out in its place and the length of the body behind it."""

    def __init__(self, start: Callable[[bytes], tuple[bytes, int]]) -> None:
        self._start = start
        self._left = 0
        self._line = b""
        self._state = "head"

    def feed(self, raw: bytes) -> Iterator[Piece]:
        """What is complete with these bytes, in order; bodies come as they come."""
        while raw:
            if self._left:
                part, raw = raw[: self._left], raw[self._left :]
                self._left -= len(part)
                yield Piece(part, "body", is_last=not self._left and self._state == "head")
                continue
            found = (self._line + raw).find(b"\r\n\r\n" if self._state == "head" else b"\r\n")
            if found < 0:
                self._line += raw
                return
            end = found + (4 if self._state == "head" else 2)
            line, raw, self._line = (self._line + raw)[:end], (self._line + raw)[end:], b""
            yield self._framing(line)

    def _framing(self, line: bytes) -> Piece:
        if self._state == "head":
            line, length = self._start(line)
            self._state = "size" if length == CHUNKED else "head"
            self._left = max(length, 0)
            return Piece(line, "head", is_last=length == 0)
        if self._state == "size":
            self._left = int(line.split(b";")[0], 16)
            self._state = "data" if self._left else "trailer"
        elif self._state == "data":
            self._state = "size"
        elif line == b"\r\n":
            self._state = "head"
        return Piece(line, "framing", is_last=self._state == "head")


def header(head: bytes, name: str) -> str | None:
    """The value of a header field, the first one where there are several."""
    found = re.search(rf"^{name}:[ \t]*(.*?)[ \t]*\r$".encode(), head, re.IGNORECASE | re.MULTILINE)
    return None if found is None else found[1].decode("latin-1")


def without_header(head: bytes, name: str) -> bytes:
    """The head without that field."""
    return re.sub(rf"^{name}:.*\r\n".encode(), b"", head, flags=re.IGNORECASE | re.MULTILINE)


def with_header(head: bytes, name: str, value: str) -> bytes:
    """The head with that field once, with that value."""
    return without_header(head, name)[:-2] + f"{name}: {value}\r\n\r\n".encode()


def framed_length(head: bytes) -> int | None:
    """Of the body behind a head, from its own words; None where it says nothing."""
    if "chunked" in (header(head, "Transfer-Encoding") or "").lower():
        return CHUNKED
    length = header(head, "Content-Length")
    return None if length is None else int(length)
