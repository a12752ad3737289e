"""Content that seems to come from far away: it tells what was asked of it, and breaks where it is told to."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from mlkit.content.pace import Connections
from mlkit.errors import NetworkError


class Far:
    """Resumable content. `breaks_at`: positions at which one connection each ends in an error."""

    def __init__(
        self,
        content: bytes,
        *,
        breaks_at: tuple[int, ...] = (),
        connections: Connections | None = None,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.content = content
        self.connections = connections
        self.breaks_at = list(breaks_at)
        self.opened: list[tuple[int, int | None]] = []
        """Offset and length of every stream; no length for those to the end."""
        self.told: list[int] = []
        self.read_bytes = 0
        self.lock = threading.Lock()
        self.on_read = on_read

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        self.opened.append((offset, None))
        return self.stream(offset, len(self.content) - offset)

    def open_range(self, *, offset: int, length: int, is_exact: bool) -> AbstractContextManager[BinaryIO]:
        self.opened.append((offset, length))
        return self.stream(offset, length)

    def resumed(self, count: int) -> None:
        self.told.append(count)

    def stream(self, offset: int, length: int) -> AbstractContextManager[BinaryIO]:
        """The bytes, as a stream that breaks."""
        far = self

        class Stream(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                position = offset + self.tell()
                far.on_read(position)
                view = memoryview(buffer)
                with far.lock:
                    stop = next((place for place in far.breaks_at if position <= place < position + len(view)), None)
                    if stop == position:
                        far.breaks_at.remove(stop)
                        raise NetworkError("the line is dead")
                    count = super().readinto(view if stop is None else view[: stop - position])
                    far.read_bytes += count
                return count

        return Stream(self.content[offset : offset + length])
