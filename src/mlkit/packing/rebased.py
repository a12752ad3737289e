"""A folder inside a staging folder, for archives whose names are not relative to the root of the kit."""

from __future__ import annotations

from contextlib import AbstractContextManager

from mlkit.archive.extract import Folder, StagedFile
from mlkit.archive.names import check_name


class Rebased:
    """Writes below `root`; kits of KitOps before 0.5 hold tars relative to the folder of their entry."""

    def __init__(self, folder: Folder, root: str) -> None:
        self._folder = folder
        self._root = root

    def place(self, path: str) -> str:
        """Where a name of the archive lands in the kit. Raises: UnsafeError, LimitError."""
        return path if self._root == "." else check_name(f"{self._root}/{path}")

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        return self._folder.file(self.place(path), mode=mode)

    def directory(self, path: str) -> None:
        self._folder.directory(self.place(path))

    def wants(self, path: str) -> bool:
        return self._folder.wants(self.place(path))
