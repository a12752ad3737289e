"""Hugging Face's caches and folders, Delta tables, and small files in general."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlkit.sources.delta import Table, table
from mlkit.sources.huggingface import downloaded, snapshot
from mlkit.sources.small_files import read_mapping, read_small

COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (f"models--bert-base--uncased/snapshots/{COMMIT}", f"hf://bert-base/uncased@{COMMIT}"),
        (f"models--gpt2/snapshots/{COMMIT}", f"hf://gpt2@{COMMIT}"),
        (f"datasets--team--x.y/snapshots/{COMMIT}", f"hf://datasets/team/x.y@{COMMIT}"),
        ("models--gpt2/snapshots/main", None),
        (f"gpt2/snapshots/{COMMIT}", None),
        (f"models--gpt2/{COMMIT}", None),
    ],
)
def test_a_snapshot_in_a_cache_is_a_repository_at_a_commit(tmp_path: Path, place: str, expected: str | None) -> None:
    (tmp_path / place).mkdir(parents=True)

    assert snapshot(tmp_path / place) == expected


def test_files_that_were_downloaded_have_their_commit_beside_them(tmp_path: Path) -> None:
    records = tmp_path / ".cache/huggingface/download"
    (records / "sub").mkdir(parents=True)
    (records / "model.safetensors.metadata").write_text(f"{COMMIT}\n{'b' * 64}\n1700000000.0\n")
    (records / "sub/x.bin.metadata").write_text("main\n")
    (records / "big.bin.metadata").write_text(COMMIT + "\n" * 2000)

    assert downloaded(tmp_path, ["model.safetensors", "sub/x.bin", "big.bin", "other"]) == {"model.safetensors": COMMIT}
    assert downloaded(tmp_path / "sub", ["model.safetensors"]) == {}


def test_the_version_of_a_table_is_its_newest_entry_and_its_name_is_in_the_metadata(tmp_path: Path) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()
    first = [{"commitInfo": {}}, {"metaData": {"id": "5fba94ed-9794", "format": {"provider": "parquet"}}}]
    (log / f"{0:020}.json").write_text("\n".join(map(json.dumps, first)))
    (log / f"{12:020}.json").write_text(json.dumps({"add": {"path": "x"}}))
    (log / f"{10:020}.checkpoint.parquet").write_bytes(b"PAR1")
    (log / "_last_checkpoint").write_text("{}")

    assert table(tmp_path) == Table(12, "5fba94ed-9794")
    assert table(log) is None


@pytest.mark.parametrize(
    "text", ["", "metaData", '{"metaData": 1}', '{"metaData": {"id": 1}}', '{"metaData": {"id": "' + "x" * 99 + '"}}']
)
def test_a_log_without_metadata_has_no_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{3:020}.json").write_text(text)

    assert table(tmp_path) == Table(3, None)


def test_what_is_no_small_file_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "right").write_bytes(b"x" * 10)

    assert read_small(tmp_path / "right", limit=10) == b"x" * 10
    for name in ("pipe", "large", "missing", ".", "a\0b"):
        assert read_small(tmp_path / name, limit=10) is None
        assert read_mapping(tmp_path / name, limit=10) == {}
