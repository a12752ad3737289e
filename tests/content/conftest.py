"""Stores to test with."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.content.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty layout; its clock stands still."""
    return Layout.create(tmp_path / "store", clock=lambda: 1_700_000_000.0)
