"""The file of an unfinished download: what the next process finds of what the one before it had."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.content.contract import blob

from mlkit.content.partial_blob import PartialBlob, is_partial, partials, take_over
from mlkit.errors import StoreError

CONTENT = bytes(range(256)) * 40
DESC = blob(CONTENT)


def taken(folder: Path) -> PartialBlob:
    found = take_over(folder, DESC)
    assert found is not None
    return found


def written(folder: Path, *parts: tuple[int, int]) -> None:
    """By a process that stops after these parts."""
    partial = taken(folder)
    for start, end in parts:
        partial.write(start, memoryview(CONTENT)[start:end])
    partial.close(keep=True)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([], ()),
        ([(0, 10)], ((0, 10),)),
        ([(0, 10), (10, 30)], ((0, 30),)),
        ([(100, 200)], ((100, 200),)),
        ([(100, 200), (0, 100)], ((0, 200),)),
        ([(0, 10), (100, 200), (5000, len(CONTENT))], ((0, 10), (100, 200), (5000, len(CONTENT)))),
        ([(5000, len(CONTENT)), (0, 5000)], ((0, len(CONTENT)),)),
    ],
    ids=["nothing", "beginning", "grown", "middle", "filled", "apart", "whole"],
)
def test_what_arrived_is_there_for_the_next_process_wherever_it_lies(
    tmp_path: Path, parts: list[tuple[int, int]], found: tuple[tuple[int, int], ...]
) -> None:
    written(tmp_path, *parts)

    again = taken(tmp_path)

    assert again.spans.parts == found
    assert all(os.pread(again.file, end - start, start) == CONTENT[start:end] for start, end in found)
    again.close(keep=False)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_gaps_has_no_note_behind_it(tmp_path: Path) -> None:
    written(tmp_path, (100, 200), (0, 100))

    (found,) = tmp_path.iterdir()

    assert found.read_bytes() == CONTENT[:200]


def test_what_follows_the_blob_is_cut_off_when_all_is_there(tmp_path: Path) -> None:
    partial = taken(tmp_path)
    partial.write(5000, memoryview(CONTENT)[5000:])
    partial.write(0, memoryview(CONTENT)[:5000])

    partial.complete()

    assert partial.path.read_bytes() == CONTENT
    partial.close(keep=False)


def test_a_folder_that_is_not_there_has_no_downloads_and_other_names_are_none(tmp_path: Path) -> None:
    written(tmp_path, (0, 10))
    names = ["sha256-00.part", f"sha256-{'0' * 64}", f"md5-{'0' * 32}.part", "notes.part"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f"sha256-{'1' * 64}.part").mkdir()

    assert [partial.digest for partial in partials(tmp_path)] == [DESC.digest]
    assert [is_partial(name) for name in names] == [False] * 4
    assert list(partials(tmp_path / "absent")) == []


def test_a_disk_that_fails_is_an_error_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def failing(path: Any, *rest: Any, **named: Any) -> int:
        if str(path).endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(OSError, match="Input/output error"):
            take_over(tmp_path, DESC)
    written(tmp_path, (100, 200))
    before = len(os.listdir("/proc/self/fd"))

    def unreadable(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        take_over(tmp_path, DESC)

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_disk_that_is_full_is_told_with_what_was_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    partial = taken(tmp_path)
    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(StoreError, match="no space left for 100 bytes"):
        partial.write(0, memoryview(CONTENT)[:100])

    partial.close(keep=True)
    assert list(tmp_path.iterdir()) == []
