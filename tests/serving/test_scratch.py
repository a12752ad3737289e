"""Folders of servers: gone at the end, or kept for a kit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlkit.errors import ConflictError
from mlkit.serving.scratch import kept_folder, scratch_folder, sweep
from mlkit.spec.digest import Digest

DIGEST = Digest.of(b"kit")
OTHER = Digest.of(b"other")


def make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text("w")


def test_the_folder_of_a_run_is_for_its_owner_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "serve", DIGEST) as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o077 == 0

    assert list((tmp_path / "serve").iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, signal
from mlkit.serving.scratch import scratch_folder
from mlkit.spec.digest import Digest
with scratch_folder(pathlib.Path({str(tmp_path)!r}), Digest.of(b"kit")) as folder:
    (folder / "weights").write_text("w")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2

    with scratch_folder(tmp_path, OTHER) as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, f"{folder.name}.lock"]


def test_the_folder_of_a_run_that_goes_on_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, DIGEST) as folder:
        sweep(tmp_path, keep=frozenset())

        assert folder.is_dir()


def test_a_kept_folder_stays_until_its_kit_has_gone(tmp_path: Path) -> None:
    with kept_folder(tmp_path, DIGEST, make=make) as folder:
        assert (folder / "weights").read_text() == "w"
        sweep(tmp_path, keep=frozenset())  # somebody serves from it

    assert folder.is_dir()
    sweep(tmp_path)
    sweep(tmp_path, keep=frozenset({DIGEST.hex}))
    assert folder.is_dir()
    sweep(tmp_path, keep=frozenset({OTHER.hex}))
    assert list(tmp_path.iterdir()) == []


def test_several_runs_serve_from_one_kept_folder(tmp_path: Path) -> None:
    with kept_folder(tmp_path, DIGEST, make=make) as first, kept_folder(tmp_path, DIGEST, make=make) as second:
        assert first == second


def test_two_runs_of_one_process_cannot_share_a_scratch_folder(tmp_path: Path) -> None:
    with (
        scratch_folder(tmp_path, DIGEST),
        pytest.raises(ConflictError, match="another run uses this folder"),
        scratch_folder(tmp_path, DIGEST),
    ):
        pass
    assert os.listdir(tmp_path) == []
