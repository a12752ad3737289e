"""How a tar becomes staged files: which of them, in which pieces, with how much room."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.tars import archive, directory, file

from mlkit.archive import extract
from mlkit.archive.extract import FileSeen, Staging, extract_tar
from mlkit.archive.limits import Limits
from mlkit.errors import LimitError, StoreError
from mlkit.spec.digest import Digest

MIB = 1 << 20


def put(staging: Staging, path: str, content: bytes = b"new") -> None:
    with staging.file(path, mode=0o644) as target:
        target.write(content)


def test_files_that_are_kept_are_not_extracted(tmp_path: Path) -> None:
    (tmp_path / "out/d").mkdir(parents=True)
    (tmp_path / "out/d/a").write_text("mine")
    tar = archive(file("d/a", b"1"), file("d/b", b"2"))

    with Staging(tmp_path / "out", existing="ignore") as staging:
        seen = extract_tar(tar, staging)
        staging.commit()

    assert seen == (FileSeen("d/b", 1, Digest.of(b"2")),)
    assert (tmp_path / "out/d/a").read_text() == "mine"


def test_limits_hold_while_a_tar_is_extracted(tmp_path: Path) -> None:
    def tar() -> Any:
        return archive(file("a", b"1"), file("b", b"2"))

    with Staging(tmp_path / "out") as staging:
        assert len(extract_tar(tar(), staging, limits=Limits(entries=2))) == 2
    with Staging(tmp_path / "out") as staging, pytest.raises(LimitError):
        extract_tar(tar(), staging, limits=Limits(entries=1))


def test_one_directory_of_a_layer_of_an_image_can_be_extracted(tmp_path: Path) -> None:
    tar = archive(directory("etc"), file("etc/passwd", b"1"), directory("models"), file("models/a", b"2"))

    with Staging(tmp_path / "out") as staging:
        seen = extract_tar(tar, staging, only="models")

    assert [one.path for one in seen] == ["models/a"]


def test_the_free_space_is_looked_at_first_and_after_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def statvfs(descriptor: int) -> SimpleNamespace:
        asked.append(os.fstat(descriptor).st_ino)
        return SimpleNamespace(f_bavail=100, f_frsize=1)

    monkeypatch.setattr(extract, "_SPACE_EVERY", 10)
    monkeypatch.setattr(os, "fstatvfs", statvfs)
    # Empty, and the first; 4 + 5 are fewer than ten bytes; with one more they are ten; then it begins again.
    parts = [file(name, bytes(size)) for name, size in (("0", 0), ("1", 4), ("2", 5), ("3", 1), ("4", 9), ("5", 1))]

    with Staging(tmp_path / "out") as staging:
        extract_tar(archive(*parts), staging)
        staging.commit()

    named = {(tmp_path / "out" / name).stat().st_ino: name for name in "012345"}
    assert [named[inode] for inode in asked] == ["0", "3", "5"]


def test_a_file_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=100, f_frsize=1))

    with pytest.raises(StoreError) as caught, Staging(tmp_path / "out") as staging:
        extract_tar(archive(file("d/large", bytes(96))), staging)

    assert caught.value.message == "'d/large': no space left for its 96 bytes (free: 100, of which 5 % stay so)"


@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 1, 4 * MIB, 4 * MIB + 1, 6 * MIB + 1], ids=str)
def test_bytes_flow_in_pieces_of_a_megabyte_and_are_told_once(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    told: list[int] = []

    with Staging(tmp_path / "out") as staging:
        seen = extract_tar(archive(file("a", content)), staging, progress_bytes=told.append)
        staging.commit()

    assert seen == (FileSeen("a", size, Digest("sha256", hashlib.sha256(content).hexdigest())),)
    assert (tmp_path / "out/a").read_bytes() == content
    assert sum(told) == size
    assert all(0 < piece <= MIB for piece in told)


@pytest.mark.parametrize("size", [1, 3000, 4 * MIB + 1], ids=["one", "small", "in a second thread"])
def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(size)
    real, told = os.write, []
    most = max(1, size // 7)

    monkeypatch.setattr(os, "write", lambda descriptor, piece: real(descriptor, memoryview(piece)[:most]))
    with Staging(tmp_path / "out") as staging:
        extract_tar(archive(file("a", content)), staging, progress_bytes=told.append)
        put(staging, "b", content)
        staging.commit()

    assert (tmp_path / "out/a").read_bytes() == content
    assert (tmp_path / "out/b").read_bytes() == content
    assert sum(told) == size
