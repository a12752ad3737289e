"""Signing while packing and pushing: before the name, with provenance, and not twice."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import mlkit
from mlkit.api import packing
from mlkit.api.evidence import evidence_of
from mlkit.api.session import Session
from mlkit.api.settings import load_settings
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE
from mlkit.trust.keys import PrivateKey, generate

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KITFILE = """\
manifestVersion: "1.0.0"
package: {name: digits}
model: {path: model.onnx}
inputs:
  - {role: dataset, uri: "https://data.example/a.csv", digest: "sha256:%s"}
""" % ("a" * 64)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "Kitfile").write_text(KITFILE)
    return folder


@pytest.fixture
def key() -> PrivateKey:
    return generate()


def packed(session: Session, project: Path, key: PrivateKey, *tags: str, push: bool = False) -> packing.Packed:
    prepared = packing.plan(session, project)
    references = [Reference.parse(tag) for tag in tags]
    return packing.pack(session, prepared, references, push=push, signer=key, clock=lambda: START)


def provenance(session: Session, reference: str, key: PrivateKey) -> dict[str, Any]:
    found = evidence_of(session, session.locate(Reference.parse(reference)), {"key": key.public})
    (one,) = (one for one in found if one.statement.predicate_type == SLSA_PROVENANCE and one.signed_by == ("key",))
    return dict(one.statement.predicate)


def git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_what_is_packed_is_signed_with_its_provenance(session: Session, project: Path, key: PrivateKey) -> None:
    git(project, "init", "-q")
    git(project, "remote", "add", "origin", "https://user:secret@git.example/team/digits.git")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    (project / "model.onnx").write_bytes(b"trained again")

    done = packed(session, project, key, "team/digits:1")

    predicate = provenance(session, "team/digits:1", key)
    definition, run = predicate["buildDefinition"], predicate["runDetails"]
    code, dataset = sorted(definition["resolvedDependencies"], key=lambda one: str(one["annotations"]["role"]))
    commit = git(project, "rev-parse", "HEAD")
    assert done.provenance is not None
    assert done.signature is not None
    assert definition["externalParameters"]["kitfile"] == {"digest": {"sha256": Digest.of(KITFILE.encode()).hex}}
    assert definition["externalParameters"]["references"] == ["team/digits:1"]
    assert dataset["uri"] == "https://data.example/a.csv"
    assert dataset["digest"] == {"sha256": "a" * 64}
    assert code["digest"] == {"gitCommit": commit}
    assert code["uri"] == f"git+https://git.example/team/digits@{commit}"
    assert code["annotations"]["git.dirty"] == "true"
    assert "secret" not in str(predicate)
    assert run["builder"]["version"] == {"mlkit": mlkit.__version__}
    assert run["metadata"] == {"startedOn": "2026-01-02T03:04:05Z", "finishedOn": "2026-01-02T03:04:05Z"}


def test_the_state_of_the_working_tree_is_told_without_being_captured(
    session: Session, project: Path, key: PrivateKey
) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    prepared = packing.plan(session, project, captures=False)

    packing.pack(session, prepared, [Reference.parse("a:1")], signer=key, clock=lambda: START)

    (code,) = (
        one
        for one in provenance(session, "a:1", key)["buildDefinition"]["resolvedDependencies"]
        if one["annotations"]["role"] == "code"
    )
    assert code["annotations"]["git.dirty"] == "false"


def test_the_kit_is_the_same_with_and_without_a_signature(session: Session, project: Path, key: PrivateKey) -> None:
    assert packed(session, project, key, "a:1").digest == mlkit.pack(project, tag="b:1", session=session).digest


def test_a_job_that_runs_again_says_nothing_twice(session: Session, project: Path, key: PrivateKey) -> None:
    packed(session, project, key, "a:1")
    again = packed(session, project, key, "a:1")
    other = packed(session, project, generate(), "a:1")

    assert (again.provenance, again.signature) == (None, None)
    assert other.signature is not None
    assert len(mlkit.inspect("a:1", session=session).attached) == 4


def test_a_kit_without_a_name_is_signed_too(session: Session, project: Path, key: PrivateKey) -> None:
    done = packed(session, project, key)

    assert {one.predicate_type for one in mlkit.inspect(f"x@{done.digest}", session=session).attached} == {
        COSIGN_SIGN,
        SLSA_PROVENANCE,
    }


def test_whoever_sees_the_name_of_a_pushed_kit_finds_its_signature(
    session: Session, other: Session, project: Path, key: PrivateKey, host: str
) -> None:
    reference = f"{host}/team/digits:1"
    prepared = packing.plan(session, project)
    seen = []

    class Watching(PrivateKey):
        def sign(self, message: bytes) -> bytes:
            try:
                mlkit.inspect(reference, session=other)
            except mlkit.MlkitError as error:
                seen.append(error.exit_code)
            return super().sign(message)

    watching = Watching(key._key)
    packing.pack(session, prepared, [Reference.parse(reference)], push=True, signer=watching, clock=lambda: START)

    assert seen == [3, 3], "there was no such name yet"
    assert provenance(other, reference, key)["buildDefinition"]["externalParameters"]["references"] == [reference]


def test_a_push_signs_unless_that_key_has(session: Session, other: Session, project: Path, host: str) -> None:
    mine = mlkit.keygen(project.parent / "mine", no_password=True, session=session)
    mlkit.pack(project, tag="team/digits:1", session=session)
    reference = f"{host}/team/digits:1"

    for _ in range(2):
        mlkit.push("team/digits:1", reference, sign=mine.private_key, session=session)

    assert len(mlkit.verify(reference, keys=mine.public_key, session=other).matched) == 1
    with pytest.raises(mlkit.MlkitError, match="would stay here"):
        mlkit.push("team/digits:1", reference, sign=mine.private_key, referrers=False, session=session)


def test_a_rehearsed_push_signs_nothing(session: Session, project: Path, host: str) -> None:
    mine = mlkit.keygen(project.parent / "mine", no_password=True, session=session)
    mlkit.pack(project, tag="team/digits:1", session=session)

    mlkit.push("team/digits:1", f"{host}/a:1", sign=mine.private_key, dry_run=True, session=session)

    assert mlkit.inspect("team/digits:1", session=session).attached == ()


GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "team/digits",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_SHA": "0" * 40,
    "GITHUB_RUN_ID": "123",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_ACTOR": "alice",
    "RUNNER_ENVIRONMENT": "github-hosted",
    "GITHUB_EVENT_NAME": "x" * 1000,
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/team/digits",
    "CI_PROJECT_PATH": "team/digits",
    "CI_JOB_URL": "https://gitlab.com/team/digits/-/jobs/7",
    "CI_JOB_ID": "7",
    "CI_RUNNER_ID": "9",
    "GITLAB_USER_LOGIN": "alice",
    "CI_COMMIT_REF_NAME": "main\n",
}


@pytest.mark.parametrize(
    ("environ", "builder", "invocation"),
    [
        (GITHUB, "https://github.com/actions/runner/github-hosted", "https://github.com/team/digits/actions/runs/123"),
        (GITLAB, "https://gitlab.com/team/digits/-/runners/9", "https://gitlab.com/team/digits/-/jobs/7"),
    ],
    ids=["github", "gitlab"],
)
def test_the_job_of_a_ci_service_is_the_builder(
    environ: dict[str, str], builder: str, invocation: str, project: Path, key: PrivateKey, tmp_path: Path
) -> None:
    settings = load_settings({"MLKIT_HOME": str(tmp_path / "home"), "USER": "runner", **environ}, tmp_path)

    with Session(settings) as session:
        packed(session, project, key, "a:1")
        predicate = provenance(session, "a:1", key)

    assert predicate["runDetails"]["builder"]["id"] == builder
    assert predicate["runDetails"]["metadata"]["invocationId"].startswith(invocation)
    ci = predicate["buildDefinition"]["internalParameters"]["ci"]
    assert (ci["repository"], ci["actor"]) == ("team/digits", "alice")
    assert "event" not in ci, "too long"
    assert ci.get("ref") in ("refs/heads/main", None), "what is not printable is left out"
    assert "run_id" not in ci
    assert "user" not in predicate["buildDefinition"]["internalParameters"]


def test_a_later_job_of_the_same_build_says_nothing_new(project: Path, key: PrivateKey, tmp_path: Path) -> None:
    for run in ("1", "2"):
        environ = {"MLKIT_HOME": str(tmp_path / "home"), **GITHUB, "GITHUB_RUN_ID": run}
        with Session(load_settings(environ, tmp_path)) as session:
            done = packed(session, project, key, "a:1")

    assert done.provenance is None


def test_a_person_is_named_where_no_service_is(project: Path, key: PrivateKey, tmp_path: Path) -> None:
    with Session(load_settings({"MLKIT_HOME": str(tmp_path / "home"), "USER": "alice"}, tmp_path)) as session:
        packed(session, project, key, "a:1")
        assert provenance(session, "a:1", key)["buildDefinition"]["internalParameters"] == {"user": "alice"}
