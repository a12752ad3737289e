"""The stores of this room keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.content.contract import StorageContract

from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import Target


class TestMemoryStore(StorageContract):
    @pytest.fixture
    def store(self) -> Target:
        return MemoryStore()


class TestLayout(StorageContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Target:
        return Layout.create(tmp_path / "store")
