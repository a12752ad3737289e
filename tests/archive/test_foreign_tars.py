"""Tars as other programs write them."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from mlkit.archive.extract import Staging, extract_tar
from mlkit.archive.reader import TarReader
from mlkit.errors import UnsafeError

_DATA = Path(__file__).parent / "data"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "model").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "model/weights.bin").write_bytes(b"w" * 5_000)
    (root / "model/run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "model/run.sh").chmod(0o700)
    (root / ("deep/" * 30)).mkdir(parents=True)
    (root / ("deep/" * 30) / ("n" * 120)).write_bytes(b"deep")
    (root / "\u00e9t\u00e9.txt").write_bytes(b"summer")
    return root


def _same(one: Path, other: Path) -> None:
    subprocess.run(["diff", "-r", one, other], check=True)


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "oldgnu", "posix"])
def test_what_gnu_tar_writes_is_read(form: str, tree: Path, tmp_path: Path) -> None:
    if form == "ustar":
        shutil.rmtree(tree / "deep")
    made = subprocess.run(["tar", f"--format={form}", "-cf", "-", "-C", tree, "."], check=True, capture_output=True)

    with Staging(tmp_path / "out") as staging:
        seen = extract_tar(io.BytesIO(made.stdout), staging)
        staging.commit()

    _same(tree, tmp_path / "out")
    assert (tmp_path / "out/model/run.sh").stat().st_mode & 0o777 == 0o755
    assert sum(file.size for file in seen) == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_what_pythons_tarfile_writes_is_read(form: int, tree: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, path.name)
    buffer.seek(0)

    with Staging(tmp_path / "out") as staging:
        extract_tar(buffer, staging)
        staging.commit()

    _same(tree, tmp_path / "out")


def test_what_gos_archive_tar_writes_is_read() -> None:
    made = gzip.decompress((_DATA / "go_tar.tar.gz").read_bytes())

    found = {member.name: (member.mode, data.read()) for member, data in TarReader(io.BytesIO(made))}

    assert found == {
        "model": (0o755, b""),
        "model/weights.bin": (0o644, b"abc"),
        "d/" * 60 + "long.bin": (0o755, b"abc"),
        "\u00e9t\u00e9.txt": (0o644, b"abc"),
        "g" * 200: (0o644, b"abc"),
    }


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_links_that_gnu_tar_writes_are_refused(kind: str, tree: Path) -> None:
    if kind == "symlink":
        (tree / "z").symlink_to("model/weights.bin")
    else:
        (tree / "z").hardlink_to(tree / "model/weights.bin")
    made = subprocess.run(["tar", "-cf", "-", "-C", tree, "."], check=True, capture_output=True)

    with pytest.raises(UnsafeError, match="link"):
        list(TarReader(io.BytesIO(made.stdout)))


def test_a_sparse_file_that_gnu_tar_writes_is_refused(tree: Path) -> None:
    with (tree / "sparse").open("wb") as stream:
        stream.truncate(10 << 20)
    for form in ("gnu", "pax"):
        made = subprocess.run(
            ["tar", f"--format={form}", "-S", "-cf", "-", "-C", tree, "sparse"], check=True, capture_output=True
        )
        with pytest.raises(UnsafeError, match=r"sparse"):
            list(TarReader(io.BytesIO(made.stdout)))


def test_a_file_beyond_8_gib_is_read_in_every_form(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as stream:
        stream.truncate((8 << 30) + 1)
    for form in ("gnu", "pax"):
        with subprocess.Popen(
            ["tar", f"--format={form}", "-cf", "-", "-C", tmp_path, "huge"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            member, _ = next(iter(TarReader(process.stdout)))
            process.kill()
        assert (member.name, member.size) == ("huge", (8 << 30) + 1)
