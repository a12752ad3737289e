"""The files and tables here are as MLflow 3 writes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlkit.sources.mlflow import Dataset, Run, run, run_of_model

RUN = "441ea0e4fc754fdaa33e49830ffcf533"
DATASET = Dataset("train", "abc123", '{"url": "https://x.example/d.csv"}')
EXPECTED = Run(RUN, "0", {"lr": "0.1"}, {"acc": "0.95"}, (DATASET,))


def write(directory: Path, path: str, text: str) -> None:
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    (directory / path).write_text(text)


def files(directory: Path) -> None:
    write(directory, f"mlruns/0/{RUN}/params/lr", "0.1")
    write(directory, f"mlruns/0/{RUN}/metrics/acc", "1795289133464 0.9 1\n1795289133465 0.95 2\n")
    write(directory, f"mlruns/0/{RUN}/inputs/d8f2/meta.yaml", "source_id: e13d\nsource_type: DATASET\ntags: {}\n")
    source = """source: '{"url": "https://x.example/d.csv"}'"""
    write(directory, "mlruns/0/datasets/e13d/meta.yaml", f"digest: abc123\nname: train\n{source}\nsource_type: http\n")


def database(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "mlflow.db")) as base:
        base.executescript(
            f"""
            CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, experiment_id INTEGER);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE latest_metrics (key TEXT, value REAL, timestamp INTEGER, step INTEGER, run_uuid TEXT);
            CREATE TABLE inputs (
                input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT
            );
            CREATE TABLE datasets (dataset_uuid TEXT, name TEXT, digest TEXT, dataset_source TEXT);
            INSERT INTO runs VALUES ('{RUN}', 0);
            INSERT INTO params VALUES ('lr', '0.1', '{RUN}');
            INSERT INTO latest_metrics VALUES ('acc', 0.95, 1, 2, '{RUN}');
            INSERT INTO inputs VALUES ('i', 'DATASET', 'd', 'RUN', '{RUN}');
            INSERT INTO datasets VALUES ('d', 'train', 'abc123', '{DATASET.source}');
            """
        )


@pytest.mark.parametrize("store", [files, database])
def test_a_run_is_read_from_the_store_in_the_project(tmp_path: Path, store: object) -> None:
    assert callable(store)
    store(tmp_path)

    assert run(tmp_path, RUN) == EXPECTED


def test_the_address_of_a_dataset_is_in_its_source() -> None:
    assert DATASET.uri == "https://x.example/d.csv"
    assert Dataset("x", "1", '{"uri": "/home/me/x.csv"}').uri is None
    assert Dataset("x", "1", "no JSON").uri is None
    assert Dataset("x", "1", None).uri is None
    assert Dataset("x", "1", '{"uri": "https://[x"}').uri is None


def test_passwords_and_tokens_in_an_address_stay_out_of_kits() -> None:
    presigned = '{"url": "https://me:secret@store.example/x.csv?X-Amz-Signature=secret#secret"}'

    assert Dataset("x", "1", presigned).uri == "https://store.example/x.csv"


@pytest.mark.parametrize("broken", ["nothing", "another run", "no database", "other tables"])
def test_without_a_store_that_knows_the_run_there_is_its_id(tmp_path: Path, broken: str) -> None:
    if broken == "another run":
        write(tmp_path, f"mlruns/0/{'0' * 32}/params/lr", "0.1")
    elif broken == "no database":
        (tmp_path / "mlflow.db").write_bytes(b"not SQLite" * 100)
    elif broken == "other tables":
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as base:
            base.execute("CREATE TABLE runs (id TEXT)")

    assert run(tmp_path, RUN) == Run(RUN)


def test_a_source_that_climbs_out_of_its_experiment_is_passed_over(tmp_path: Path) -> None:
    files(tmp_path)
    write(tmp_path, f"mlruns/0/{RUN}/inputs/d8f2/meta.yaml", "source_id: ../../../x\n")
    write(tmp_path, "x/meta.yaml", "digest: abc123\nname: train\n")

    assert run(tmp_path, RUN).datasets == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"artifact_path: model\nrun_id: {RUN}\n", RUN),
        (f"run_id: {'1' * 32}\n", "1" * 32),
        ("run_id: ../../etc\n", None),
        ("run_id: null\n", None),
        ("[", None),
    ],
)
def test_a_model_names_its_run(tmp_path: Path, text: str, expected: str | None) -> None:
    write(tmp_path, "MLmodel", text)

    assert run_of_model(tmp_path / "MLmodel") == expected
    assert run_of_model(tmp_path / "not there") is None
