"""A layer that arrives broken is read once more: proxies and memory flip bits, and often only once (fault 47).

A second error is raised, and so is the first where the broken bytes have left a directory behind that the sound ones do
not have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from mlkit.archive.extract import Folder, StagedFile
from mlkit.errors import IntegrityError
from mlkit.packing.fetch import Moved

_T = TypeVar("_T")


class Revocable(Folder, Protocol):
    """A folder whose files can be taken back."""

    def drop(self, path: str) -> None: ...


def twice(write: Callable[[Folder, Moved], _T], folder: Revocable, moved: Moved) -> _T:
    """What `write` gives, from its second attempt where the first met an IntegrityError.

    Raises: what `write` raises; files that it wrote before are gone then, or are the caller's to drop with the rest.
    """
    first = _Attempt(folder, moved)
    try:
        return write(first, first.moved)
    except IntegrityError as error:
        first.take_back()
        second = _Attempt(folder, moved)
        written = write(second, second.moved)
        if first.directories - second.directories:
            raise error
        return written


class _Attempt:
    """A Folder that knows what went through it."""

    def __init__(self, folder: Revocable, moved: Moved) -> None:
        self._folder = folder
        self._moved = moved
        self._count = 0
        self._lock = threading.Lock()
        self._files: list[str] = []
        self.directories: set[str] = set()

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        file = self._folder.file(path, mode=mode)
        self._files.append(path)
        self._note(path.rpartition("/")[0])
        return file

    def directory(self, path: str) -> None:
        self._folder.directory(path)
        self._note(path)

    def wants(self, path: str) -> bool:
        return self._folder.wants(path)

    def moved(self, count: int) -> None:
        with self._lock:
            self._count += count
        self._moved(count)

    def take_back(self) -> None:
        for path in self._files:
            self._folder.drop(path)
        self._moved(-self._count)

    def _note(self, directory: str) -> None:
        while directory and directory not in self.directories:
            self.directories.add(directory)
            directory = directory.rpartition("/")[0]
