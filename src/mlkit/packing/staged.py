"""What has been staged of an unpack, and where what a kit names elsewhere lands in it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from mlkit.archive.extract import StagedFile, Staging
from mlkit.content.lock import write_all


class Tree(Protocol):
    """A folder that layers are written into, with a record of what was."""

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]: ...

    def directory(self, path: str) -> None: ...

    def drop(self, path: str) -> None: ...

    def wants(self, path: str) -> bool: ...

    def note(self, files: Iterable[tuple[str, int]]) -> None:
        """Record files that were written, with their sizes in bytes."""


class Staged:
    """The staging folder with a record of what is in it; used from several threads."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._lock = threading.Lock()
        self.files: dict[str, int] = {}
        """Sizes in bytes by path."""
        self.skipped: set[str] = set()

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        return self._staging.file(path, mode=mode)

    def directory(self, path: str) -> None:
        self._staging.directory(path)

    def drop(self, path: str) -> None:
        self._staging.drop(path)

    def wants(self, path: str) -> bool:
        """Whether a file is to be written; what is not is noted as skipped."""
        is_wanted = self._staging.wants(path)
        if not is_wanted:
            with self._lock:
                self.skipped.add(path)
        return is_wanted

    def note(self, files: Iterable[tuple[str, int]]) -> None:
        with self._lock:
            self.files.update(files)

    def holds(self, path: str) -> bool:
        return path in self.files or path in self.skipped

    def write(self, path: str, content: bytes) -> None:
        """A small file that comes from no layer."""
        if self.wants(path):
            with self._staging.file(path, mode=0o644) as target:
                write_all(target.fileno(), content)
            self.note([(path, len(content))])


class Under:
    """A directory in a tree, as a tree."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self._path = path

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        return self._tree.file(joined(self._path, path), mode=mode)

    def directory(self, path: str) -> None:
        self._tree.directory(joined(self._path, path))

    def drop(self, path: str) -> None:
        self._tree.drop(joined(self._path, path))

    def wants(self, path: str) -> bool:
        return self._tree.wants(joined(self._path, path))

    def note(self, files: Iterable[tuple[str, int]]) -> None:
        self._tree.note((joined(self._path, path), size) for path, size in files)


def joined(folder: str, path: str) -> str:
    """A path below a folder, `.` being the root."""
    return path if folder == "." else f"{folder}/{path}"
