"""Tars: member by member. A checkpoint of PyTorch before 0.2 is one too."""

from __future__ import annotations

import io
from typing import BinaryIO, Final, cast

from mlkit.archive.reader import TarReader
from mlkit.errors import IntegrityError, UnsafeError
from mlkit.trust.scan.look import Look
from mlkit.trust.scan.source import Part, Source

_LEGACY: Final = frozenset({"sys_info", "pickle", "storages", "tensors"})
_BUFFER: Final = 64 * 1024


def is_tar(head: bytes) -> bool:
    """Whether the first block is a header of a tar, by its magic or, in old ones, by its sum."""
    if head[257:262] == b"ustar":
        return True
    field = head[148:156].strip(b" \0")
    if len(head) < 512 or not field or field.strip(b"01234567"):
        return False
    return sum(head[:148]) + 8 * 32 + sum(head[156:512]) == int(field, 8) and any(head[:100])


def scan_tar(source: Source, look: Look) -> str:
    """Look at every member; gives the kind. Raises: LimitError."""
    stream = SourceFile(source)
    buffered = io.BufferedReader(stream, _BUFFER)
    names: set[str] = set()
    try:
        for member, _ in TarReader(cast(BinaryIO, buffered)):
            if member.is_dir:
                continue
            look.budget.member()
            names.add(member.name.removeprefix("./"))
            # Where the data begins is where the reader stands; the part reads it by itself.
            start = buffered.tell()
            look.scan_member(Part(source, start, member.size), member.name)
            stream.passed = range(start, start + member.size)
    except UnsafeError as error:
        look.report("archive-path", f"the tar holds what must not be unpacked: {error.message}")
    except IntegrityError as error:
        look.report("archive-broken", f"the tar cannot be read to its end: {error.message}")
    if names >= _LEGACY:
        look.report("torch-legacy-tar", "is a checkpoint of PyTorch before 0.2")
        return "torch-tar"
    return "tar"


class SourceFile(io.RawIOBase):
    """A source as a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0
        self.passed = range(0)
        """Places of data that was looked at; whoever reads over them gets anything, which costs no reading."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (self._position if whence == 1 else self._source.size if whence == 2 else 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # RawIOBase is typed wider than it is used
        if self._position in self.passed:
            count = min(len(buffer), self.passed.stop - self._position)
            self._position += count
            return count
        content = self._source.read_at(self._position, len(buffer))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
