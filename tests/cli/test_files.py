from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from mlkit.cli.files import read_stdin, write_text
from mlkit.errors import ConflictError, LimitError, StoreError, UsageError


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "text\n", replace=False)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "text\n"


def test_a_file_that_exists_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    with pytest.raises(ConflictError):
        write_text(tmp_path / "a", "new", replace=False)
    assert (tmp_path / "a").read_text() == "old"

    write_text(tmp_path / "a", "new", replace=True)
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        write_text(tmp_path / "no/a", "text", replace=False)


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_leaves_nothing_half_written(
    replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StoreError, match="No space left on device"):
        write_text(tmp_path / "a", "text", replace=replace)
    assert list(tmp_path.iterdir()) == []


def _stdin(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


def test_stdin_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, "Größe\n".encode())

    assert read_stdin("the Kitfile", limit=100) == "Größe\n"


def test_stdin_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, b"x" * 11)

    with pytest.raises(LimitError, match="more than 10 bytes"):
        read_stdin("the Kitfile", limit=10)


def test_stdin_that_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, b"ab\xff")

    with pytest.raises(UsageError, match="not UTF-8 at byte 2"):
        read_stdin("the Kitfile", limit=10)
