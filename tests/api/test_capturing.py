"""What a kit says of where its parts come from, found out when it is packed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.sources.test_dvc import LOCK, RAW, TRAIN
from tests.sources.test_mlflow import RUN
from tests.sources.test_mlflow import files as mlflow_files

import mlkit
from mlkit.api.session import Session
from mlkit.errors import MlkitError, NotFoundError
from mlkit.packing.kit import load_kit
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.reference import Reference

KITFILE = """\
package: {name: digits}
model: {path: model}
datasets: [{name: train, path: data}]
code: [{path: train.py}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    where = tmp_path / "project"
    for path, text in {"model/w.bin": "weights", "data/train.csv": "1,2\n", "train.py": "train()\n"}.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
    (where / "Kitfile").write_text(KITFILE)
    return where


def inputs(session: Session, project: Path, tag: str = "digits:1") -> tuple[InputRecord, ...]:
    mlkit.pack(project, tag=tag, session=session)
    located = session.locate(Reference.parse(tag))
    document = load_kit(located.store, located.desc).document
    assert document is not None
    return document.inputs


def add_inputs(project: Path, text: str) -> None:
    (project / "Kitfile").write_text(f"{KITFILE}inputs:\n{text}")


def test_a_kit_in_the_inputs_is_pinned_to_the_digest_it_has_now(session: Session, project: Path) -> None:
    base = mlkit.pack(project, tag="base:1", session=session)
    add_inputs(project, "- {role: base-model, ref: 'base:1', name: the base}\n")

    (found,) = inputs(session, project)
    (project / "model/w.bin").write_text("other")
    mlkit.pack(project, tag="base:1", session=session)

    assert found == InputRecord("base-model", f"base:1@{base.digest}", None, base.digest, name="the base")
    assert mlkit.resolve("base:1", session=session) != base.digest


def test_a_kit_that_is_not_there_is_an_error_unless_its_digest_is_given(session: Session, project: Path) -> None:
    add_inputs(project, "- {role: dataset, ref: 'gone:1'}\n")
    with pytest.raises(NotFoundError, match="gone:1"):
        mlkit.pack(project, session=session)

    digest = Digest.of(b"gone")
    add_inputs(
        project, f"- {{role: dataset, ref: 'gone@{digest}'}}\n- {{role: dataset, ref: 'gone:2', digest: '{digest}'}}\n"
    )
    assert [record.digest for record in inputs(session, project)] == [digest, digest]


def test_files_in_the_inputs_are_pinned_to_their_bytes(session: Session, project: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_text("a")
    (tmp_path / "raw/b.csv").write_text("b")
    add_inputs(project, f"- {{role: dataset, uri: ../raw}}\n- {{role: dataset, uri: 'file://{tmp_path}/raw/a.csv'}}\n")

    found = inputs(session, project)

    assert [(record.uri, record.name, record.digest) for record in found] == [
        ("../raw/a.csv", "a.csv", Digest.of(b"a")),
        ("../raw/b.csv", "b.csv", Digest.of(b"b")),
        (f"file://{tmp_path}/raw/a.csv", None, Digest.of(b"a")),
    ]


def test_what_is_elsewhere_stays_as_the_author_says_it(session: Session, project: Path) -> None:
    digest = Digest.of(b"far")
    add_inputs(
        project, f"- {{role: dataset, uri: 's3://b/k', digest: '{digest}'}}\n- {{role: other, uri: 'hf://a/b'}}\n"
    )

    assert inputs(session, project) == (
        InputRecord("dataset", None, "s3://b/k", digest),
        InputRecord("other", None, "hf://a/b"),
    )


def test_git_says_the_commit_and_the_same_for_every_clone(session: Session, project: Path, tmp_path: Path) -> None:
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"],
        ["remote", "add", "origin", "https://me:token@git.example/team/digits.git"],
    ):
        subprocess.run(["git", "-C", str(project), *arguments], check=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
    ssh = "ssh://git@git.example/team/digits"
    subprocess.run(["git", "-C", str(clone), "remote", "set-url", "origin", ssh], check=True)

    (found,) = inputs(session, project)

    assert found.role == "code"
    assert found.uri is not None
    assert found.uri.startswith("git+https://git.example/team/digits@")
    assert dict(found.facts)["git.dirty"] == "false"
    assert mlkit.pack(clone, session=session).digest == mlkit.resolve("digits:1", session=session)
    assert mlkit.pack(clone, captures=False, session=session).digest != mlkit.resolve("digits:1", session=session)


def test_dvc_says_the_md5_of_files_and_of_what_a_pipeline_read(session: Session, project: Path) -> None:
    (project / ".dvc").mkdir()
    (project / "data/train.csv.dvc").write_text(f"outs:\n- md5: {TRAIN}\n  size: 4\n  hash: md5\n  path: train.csv\n")
    (project / "dvc.lock").write_text(LOCK)

    found = {(record.role, record.path): dict(record.facts) for record in inputs(session, project)}

    assert found[("dataset", "data/train.csv")]["dvc.md5"] == TRAIN
    assert found[("dataset", "raw")] == {"dvc.md5": RAW, "dvc.path": "raw", "dvc.stage": "prepare"}
    assert found[("code", "train.py")]["dvc.stage"] == "train"


def test_mlflow_says_the_run_and_its_datasets(session: Session, project: Path) -> None:
    mlflow_files(project)
    (project / "model/MLmodel").write_text(f"artifact_path: model\nrun_id: {RUN}\n")

    run, data = inputs(session, project)

    assert (run.role, run.uri) == ("run", f"mlflow:runs/{RUN}")
    assert dict(run.facts) == {
        "mlflow.run": RUN,
        "mlflow.experiment": "0",
        "mlflow.parameter.lr": "0.1",
        "mlflow.metric.acc": "0.95",
    }
    assert (data.role, data.name, data.uri) == ("dataset", "train", "https://x.example/d.csv")
    assert dict(data.facts) == {"mlflow.digest": "abc123", "mlflow.run": RUN}


def test_hugging_face_and_delta_say_commit_and_version(session: Session, project: Path) -> None:
    records = project / ".cache/huggingface/download/model"
    records.mkdir(parents=True)
    (records / "w.bin.metadata").write_text(f"{'c' * 40}\nx\n1\n")
    (project / "data/_delta_log").mkdir()
    entry = json.dumps({"metaData": {"id": "5fba94ed"}})
    (project / "data/_delta_log" / f"{7:020}.json").write_text(entry)

    assert inputs(session, project) == (
        InputRecord("base-model", facts=(("huggingface.commit", "c" * 40),)),
        InputRecord("dataset", name="train", path="data", facts=(("delta.table", "5fba94ed"), ("delta.version", "7"))),
    )


def test_a_run_counts_where_the_kit_holds_what_it_wrote(session: Session, project: Path) -> None:
    with mlkit.lineage.run("train", directory=project) as run:
        run.uses("data/train.csv")
        run.produces("model/w.bin")
    found = inputs(session, project)
    again = mlkit.pack(project, session=session)

    (project / "model/w.bin").write_text("trained again, unrecorded")
    packed = mlkit.pack(project, tag="digits:2", session=session)

    assert [record.role for record in found] == ["run", "dataset"]
    assert found[1].digest == Digest.of(b"1,2\n")
    assert again.digest == mlkit.resolve("digits:1", session=session)
    assert inputs(session, project, "digits:3") == ()
    assert any("run train: no file in this kit is as the run wrote it" in note for note in packed.notes)


def test_a_record_that_cannot_be_read_is_told_and_does_not_stop_a_pack(session: Session, project: Path) -> None:
    (project / ".mlkit/runs").mkdir(parents=True)
    (project / ".mlkit/runs/bad.json").write_text("{")

    packed = mlkit.pack(project, session=session)

    assert any(".mlkit/runs/bad.json" in note and "left out" in note for note in packed.notes)


def test_records_of_runs_are_no_content(session: Session, project: Path) -> None:
    (project / "Kitfile").write_text("code: [{path: .}]\n")
    with mlkit.lineage.run("train", directory=project) as run:
        run.uses("data/train.csv")

    mlkit.pack(project, tag="digits:1", session=session)

    assert not [file for file in mlkit.files("digits:1", session=session) if file.path.startswith(".mlkit")]


def test_odd_names_in_what_other_tools_left_do_not_stop_a_pack(session: Session, project: Path) -> None:
    (project / ".dvc").mkdir()
    text = f'outs:\n- md5: {TRAIN}\n  path: "a\\nb"\n- md5: {TRAIN}\n  path: ../../x\n'
    (project / "data.dvc").write_text(text)

    found = inputs(session, project)

    assert [(record.name, record.path) for record in found] == [("../../x", None)]


def test_capturing_asks_no_network(session: Session, project: Path) -> None:
    add_inputs(project, "- {role: dataset, uri: 'https://nowhere.invalid/x'}\n- {role: run, uri: 'mlflow:runs/1'}\n")

    try:
        found = inputs(session, project)
    except MlkitError as error:
        raise AssertionError(str(error)) from error

    assert [record.uri for record in found] == ["https://nowhere.invalid/x", "mlflow:runs/1"]
