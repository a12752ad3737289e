"""A folder as a layer of another tool sees it: its names land where the layer may put them, or nowhere."""

from __future__ import annotations

from collections.abc import Container
from contextlib import AbstractContextManager

from mlkit.archive.extract import Folder, StagedFile
from mlkit.packing.kit_layer import KitLayer


class Rebased:
    """Writes to where `KitLayer.place` says, but for the paths `without`."""

    def __init__(self, folder: Folder, layer: KitLayer, *, without: Container[str] = ()) -> None:
        self._folder = folder
        self._place = layer.place
        self._without = without

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        return self._folder.file(self._place(path), mode=mode)

    def directory(self, path: str) -> None:
        self._folder.directory(self._place(path))

    def wants(self, path: str) -> bool:
        place = self._place(path)
        return place not in self._without and self._folder.wants(place)
