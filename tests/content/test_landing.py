"""A new file in which a download lands: each part in its place, and the disk's own errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.content.contract import blob
from tests.content.far import Far

from mlkit.content.download import Download
from mlkit.content.landing import FreshFile
from mlkit.errors import DigestMismatch

CONTENT = os.urandom(100_000)


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[FreshFile]:
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield FreshFile(file)
    os.close(file)


def test_parts_land_in_their_places_in_whatever_order_they_come(landing: FreshFile, tmp_path: Path) -> None:
    view = memoryview(CONTENT)

    told = [landing.write(start, view[start:end]) for start, end in ((50_000, 100_000), (0, 10), (10, 50_000))]

    assert told == [0, 10, 100_000]
    assert landing.spans.parts == ((0, 100_000),)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_disk_that_takes_little_at_a_time_is_given_the_rest(
    landing: FreshFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, view, offset: pwrite(file, view[:1000], offset))

    landing.write(7, memoryview(CONTENT))

    assert (tmp_path / "file").read_bytes() == bytes(7) + CONTENT


def test_an_error_of_the_disk_is_for_whoever_opened_the_file(
    landing: FreshFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(OSError, match="No space left"), landing.guarded():
        landing.write(0, memoryview(CONTENT))

    assert landing.spans.parts == ()


def test_a_download_lands_whole_and_one_that_is_false_is_told(landing: FreshFile, tmp_path: Path) -> None:
    Download(landing, blob(CONTENT), Far(CONTENT)).run()
    assert (tmp_path / "file").read_bytes() == CONTENT

    os.ftruncate(landing.file, 0)
    with pytest.raises(DigestMismatch):
        Download(FreshFile(landing.file), blob(CONTENT), Far(CONTENT[:-1] + b"!")).run()
