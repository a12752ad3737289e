"""The files here are as DVC 3.67 writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.sources.dvc import Tracked, added, is_repository, pipeline

TRAIN = "3ecfad755fa825f7a17c5526ec44e651"
RAW = "45b1eb2ff8072c35f82255c3c22c1ae9.dir"
SCRIPT = "948ad326b52c35478af3b6ef48b163de"
LOCK = f"""\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - path: raw
      hash: md5
      md5: {RAW}
      size: 2
      nfiles: 1
    outs:
    - path: data
      md5: c453bb174c40ee8bbffccde802389165.dir
  train:
    cmd: python train.py
    deps:
    - path: train.py
      hash: md5
      md5: {SCRIPT}
      size: 554
    - path: data/train.csv
      hash: md5
      md5: {TRAIN}
      size: 4
    outs:
    - path: model
      hash: md5
      md5: c453bb174c40ee8bbffccde802389165.dir
  report:
    cmd: python report.py
    deps:
    - path: model
      md5: c453bb174c40ee8bbffccde802389165.dir
    outs:
    - path: report.html
      md5: 00000000000000000000000000000001
"""


def write(directory: Path, path: str, text: str) -> None:
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    (directory / path).write_text(text)


def test_a_project_is_known_by_its_folder_from_anywhere_below(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    before = is_repository(tmp_path / "a/b")
    (tmp_path / ".dvc").mkdir()

    assert before is False
    assert is_repository(tmp_path / "a/b")


def test_what_was_added_is_found_beside_files_and_the_directories_that_hold_them(tmp_path: Path) -> None:
    write(tmp_path, "data/train.csv.dvc", f"outs:\n- md5: {TRAIN}\n  size: 4\n  hash: md5\n  path: train.csv\n")
    write(tmp_path, "raw.dvc", f"outs:\n- md5: {RAW}\n  size: 2\n  nfiles: 1\n  hash: md5\n  path: raw\n")

    found = list(added(tmp_path, ["data/train.csv", "raw/a", "raw/b/c", "other.csv"]))

    assert found == [Tracked("data/train.csv", TRAIN, None), Tracked("raw", RAW, None)]


def test_an_md5_that_looks_like_a_number_is_text(tmp_path: Path) -> None:
    md5 = "12345678901234567890123456789012"
    write(tmp_path, "x.dvc", f"outs:\n- md5: {md5}\n  path: x\n")

    assert [item.md5 for item in added(tmp_path, ["x"])] == [md5]


def test_a_pipeline_is_followed_back_from_what_was_made_and_no_further(tmp_path: Path) -> None:
    write(tmp_path, "dvc.lock", LOCK)

    found = set(pipeline(tmp_path, ["model/weights.bin"]))

    assert found == {
        Tracked("train.py", SCRIPT, "train"),
        Tracked("data/train.csv", TRAIN, "train"),
        Tracked("raw", RAW, "prepare"),
    }
    assert list(pipeline(tmp_path, ["elsewhere"])) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs: 1",
        "outs: [1, {}]",
        "outs: [{md5: ../x, path: x}]",
        f"outs: [{{md5: {TRAIN}, path: /etc/passwd}}]",
        "outs: &a [*a]",
        "- x",
        "\x00",
        "outs: [" + "[" * 100_000,
        "x: " + "y" * 300_000,
    ],
    ids=["empty", "number", "items", "no md5", "absolute", "alias", "list", "NUL", "deep", "large"],
)
def test_a_file_that_is_none_of_dvc_says_nothing(tmp_path: Path, text: str) -> None:
    write(tmp_path, "x.dvc", text)
    write(tmp_path, "dvc.lock", text)

    assert list(added(tmp_path, ["x"])) == []
    assert list(pipeline(tmp_path, ["x"])) == []


def test_a_working_directory_outside_the_project_shows_in_the_path(tmp_path: Path) -> None:
    write(tmp_path, "sub/x.dvc", f"wdir: ../..\nouts:\n- md5: {TRAIN}\n  path: data.csv\n")

    assert [item.path for item in added(tmp_path, ["sub/x"])] == ["../data.csv"]
