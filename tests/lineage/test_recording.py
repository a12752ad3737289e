from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import mlkit
from mlkit.errors import NotFoundError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.run_record import RUNS, RunRecord, parse_run_record

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    where = tmp_path / "project"
    (where / "data/more").mkdir(parents=True)
    (where / "data/train.csv").write_text("1,2\n")
    (where / "data/more/test.csv").write_text("3,4\n")
    (where / "train.py").write_text("train()\n")
    return where


def recorded(project: Path, name: str = "train") -> RunRecord:
    return parse_run_record((project / RUNS / f"{name}.json").read_bytes(), what="record")


def test_a_run_records_what_it_read_and_wrote_by_digest(project: Path) -> None:
    with mlkit.lineage.run("train", directory=project, clock=lambda: NOON) as run:
        run.uses("data")
        run.uses("train.py")
        run.uses("s3://bucket/raw.csv", digest=str(Digest.of(b"raw")))
        (project / "model.safetensors").write_bytes(b"early")
        run.produces("model.safetensors")
        run.parameter("lr", 0.1)
        run.metric("acc", 0.95)
        (project / "model.safetensors").write_bytes(b"weights")

    record = recorded(project)
    assert (record.outcome, record.started, record.ended) == ("succeeded", *["2026-03-03T12:00:00Z"] * 2)
    assert [(used.role, used.name, used.digest) for used in record.uses] == [
        ("dataset", "data/more/test.csv", Digest.of(b"3,4\n")),
        ("dataset", "data/train.csv", Digest.of(b"1,2\n")),
        ("code", "train.py", Digest.of(b"train()\n")),
        ("dataset", "s3://bucket/raw.csv", Digest.of(b"raw")),
    ]
    assert [(made.path, made.digest) for made in record.produces] == [("model.safetensors", Digest.of(b"weights"))]
    assert (record.parameters, record.metrics) == ({"lr": "0.1"}, {"acc": "0.95"})


def test_a_file_counts_as_it_was_when_the_run_read_it(project: Path) -> None:
    with mlkit.lineage.run("train", directory=project) as run:
        run.uses("data/train.csv")
        (project / "data/train.csv").write_text("changed\n")

    assert recorded(project).uses[0].digest == Digest.of(b"1,2\n")


def test_a_kit_is_pinned_where_somebody_can_tell_its_digest(project: Path) -> None:
    digest = Digest.of(b"manifest")

    with mlkit.lineage.run("train", directory=project, resolve=lambda _: digest) as run:
        run.uses("registry.example/team/base:1", role="base-model")
    with mlkit.lineage.run("again", directory=project) as run:
        run.uses("registry.example/team/base:1", role="base-model")

    assert recorded(project).uses[0].ref == f"registry.example/team/base:1@{digest}"
    assert recorded(project).uses[0].digest == digest
    assert recorded(project, "again").uses[0].digest is None


def test_a_run_that_fails_is_recorded_as_failed_and_fails(project: Path) -> None:
    def train() -> None:
        with mlkit.lineage.run("train", directory=project) as run:
            run.uses("data/train.csv")
            run.produces("never-written.bin")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()

    assert recorded(project).outcome == "failed"
    assert recorded(project).produces == ()


def test_an_output_that_is_not_there_is_an_error_and_leaves_the_earlier_record(project: Path) -> None:
    with mlkit.lineage.run("train", directory=project) as run:
        run.uses("data/train.csv")
    before = recorded(project)

    with pytest.raises(NotFoundError, match="no such file"), mlkit.lineage.run("train", directory=project) as run:
        run.produces("missing.bin")

    assert recorded(project) == before
    assert [path.name for path in (project / RUNS).iterdir()] == ["train.json"]


@pytest.mark.parametrize("what", ["data/typo.csv", "registry.example/team/base"])
def test_what_is_neither_file_nor_kit_is_an_error(project: Path, what: str) -> None:
    with pytest.raises(NotFoundError, match="no such file"), mlkit.lineage.run("train", directory=project) as run:
        run.uses(what)


@pytest.mark.parametrize("arguments", [{"name": "../x"}, {"name": "x", "directory": "/nowhere"}])
def test_a_run_needs_a_name_and_a_project(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError), mlkit.lineage.run(**arguments):
        raise AssertionError("not reached")


def test_passwords_and_tokens_in_an_address_are_not_recorded(project: Path) -> None:
    with mlkit.lineage.run("train", directory=project) as run:
        run.uses("https://me:secret@store.example/x.csv?X-Amz-Signature=secret")

    assert "secret" not in (project / RUNS / "train.json").read_text()
    assert recorded(project).uses[0].uri == "https://store.example/x.csv"


def test_a_file_outside_the_project_is_told_by_its_name_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret-customer").mkdir()
    (tmp_path / "secret-customer/raw.csv").write_text("x")

    with mlkit.lineage.run("train", directory=project) as run:
        run.uses(tmp_path / "secret-customer/raw.csv")

    assert "secret-customer" not in json.dumps((project / RUNS / "train.json").read_text())
    assert recorded(project).uses[0].name == "raw.csv"
