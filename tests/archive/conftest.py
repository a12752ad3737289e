"""What the tests of this room share: an extraction that must be refused and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.support.tars import Refused

from mlkit.archive.extract import Staging, extract_tar
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.errors import MlkitError


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Extract a tar that must be refused with one kind of error; I1 and I5 are asserted, the error is given back."""
    outside = tmp_path / "outside.txt"
    outside.write_text("precious")

    def extract(stream: BinaryIO, kind: type[MlkitError], *, limits: Limits = DEFAULT_LIMITS) -> MlkitError:
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(kind) as caught, Staging(tmp_path / "out") as staging:
            extract_tar(stream, staging, limits=limits)
        assert type(caught.value) is kind
        assert sorted(os.listdir(tmp_path)) == before
        assert outside.read_text() == "precious"
        assert str(caught.value).isprintable()
        return caught.value

    return extract
