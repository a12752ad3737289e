from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlkit.archive import digests
from mlkit.archive.digests import FileDigest, file_digests
from mlkit.errors import ConflictError, LimitError, NotFoundError, StoreError, UnsafeError
from mlkit.spec.digest import Digest


def test_a_file_is_known_by_its_bytes_whatever_it_is_called(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").symlink_to("a")

    assert list(file_digests(tmp_path / "a")) == [FileDigest("", Digest.of(content), 3 << 20)]
    assert list(file_digests(tmp_path / "b")) == [FileDigest("", Digest.of(content), 3 << 20)]


def test_a_directory_is_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b/x", "a", "b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    found = list(file_digests(tmp_path))

    assert [(file.path, file.digest) for file in found] == [
        (name, Digest.of(name.encode())) for name in ("a", "b.csv", "b/x")
    ]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UnsafeError, match="neither a file nor a directory"):
        list(file_digests(tmp_path / "pipe"))
    with pytest.raises(NotFoundError, match="no such file"):
        list(file_digests(tmp_path / "missing"))


def test_more_files_than_the_limit_are_refused_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "FILE_LIMIT", 2)
    for name in "ab":
        (tmp_path / name).touch()
    within = list(file_digests(tmp_path))
    os.mkfifo(tmp_path / "c")

    assert len(within) == 2
    with pytest.raises(LimitError, match="3 files are more than the limit of 2"):
        next(file_digests(tmp_path))


def test_a_file_that_grows_while_it_is_read_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"first")
    real = os.fstat
    seen = []

    def growing(file: int) -> os.stat_result:
        if seen:
            with (tmp_path / "a").open("ab") as stream:
                stream.write(b"more")
        seen.append(file)
        return real(file)

    monkeypatch.setattr(os, "fstat", growing)

    with pytest.raises(ConflictError, match="changed while it was read"):
        list(file_digests(tmp_path / "a"))


def test_a_file_that_the_disk_does_not_give_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: File name too long"):
        list(file_digests(tmp_path / ("x" * 300)))
