"""Checks of kits in the local store and in registries, and what is said of them there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer
from tests.support.releases import Project, write_keys

import mlkit
from mlkit.api import checking, release_views, releases
from mlkit.api.checking import Checked
from mlkit.api.evidence import attach_statement, signer_for
from mlkit.api.session import Session
from mlkit.errors import NotFoundError, PolicyError
from mlkit.release.state import LastCheck
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SCAN
from mlkit.spec.test_result import TEST_RESULT

CHECKS = f"""\
checks:
  - name: accuracy
    run: [{sys.executable}, -c, "import json; json.dump({{'accuracy': ACCURACY}}, open('out.json', 'w'))"]
    metrics: out.json
    bounds: ["accuracy >= 0.95"]
  - name: reads its data
    run: [{sys.executable}, -c, "print(open('train.csv').read())"]
"""


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def signing(tmp_path: Path) -> Iterator[Session]:
    write_keys(tmp_path / "keys", "ci")
    keys = {"trusted_keys": (tmp_path / "keys/ci.pub",), "signing_key": tmp_path / "keys/ci.key"}
    with mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",), **keys) as session:
        yield session


def check(session: Session, reference: Reference, **options: Any) -> Checked:
    return checking.check(session, reference, environ=os.environ, **options)


def test_a_kit_that_passed_may_be_promoted_and_one_that_failed_may_not(
    tmp_path: Path, signing: Session, server: SimulatedRegistry
) -> None:
    project = Project(tmp_path / "project", signing, f"{server.host}/team/digits")
    for version, accuracy in (("1.0", "0.97"), ("1.1", "0.90")):
        project.release(version, more=CHECKS.replace("ACCURACY", accuracy))

    passed = check(signing, project.at("1.0"), remote=True)
    failed = check(signing, project.at("1.1"), remote=True)

    assert passed.passed
    assert passed.checks[0].metrics == {"accuracy": 0.97}
    assert "1,2" in passed.checks[1].output
    assert not failed.passed
    assert [one.passed for one in failed.checks] == [False, True]
    assert passed.attestation is not None
    assert failed.attestation is not None
    moved = releases.promote(signing, project.at("1.0"), "production", require=("checks",))
    assert [(found.kind, found.digest) for found in moved.evidence] == [("checks", passed.attestation)]
    with pytest.raises(PolicyError, match="its last check failed"):
        releases.promote(signing, project.at("1.1"), "production", require=("checks",))


def test_status_says_what_the_last_check_says_today_and_not_what_was_so_on_the_day_of_the_promotion(
    tmp_path: Path, signing: Session, server: SimulatedRegistry
) -> None:
    project = Project(tmp_path / "project", signing, f"{server.host}/team/digits")
    project.release("1.0")
    signer = signer_for(signing)
    assert signer is not None
    located = signing.locate(project.at("1.0"), remote=True)

    def said(result: str, day: int) -> Digest:
        at = datetime(2026, 3, day, 9, 30, tzinfo=UTC)
        return attach_statement(signing, located, TEST_RESULT, {"result": result}, signer=signer, now=at).digest

    said("PASSED", 1)
    releases.promote(signing, project.at("1.0"), "production", require=("checks",))
    releases.promote(signing, project.at("1.0"), "staging")
    failed = said("FAILED", 2)
    signature = attach_statement(signing, located, COSIGN_SIGN, {}, signer=signer)
    bundle = json.loads(server.repository("team/digits").manifests[str(signature.digest)][1])["layers"][0]["digest"]
    server.requests.clear()

    (found,) = release_views.status(signing, [project.at()])

    assert [one.check for one in found.channels] == [LastCheck(False, "2026-03-02T09:30:00Z", ("ci",), failed)] * 2
    assert found.channels[0].had_checks
    listed = [line for line in server.lines() if f"/referrers/{located.desc.digest}" in line]
    assert len(listed) == 1  # once, though two channels point there
    assert not [line for line in server.lines() if bundle in line]  # which is no result of checks
    with pytest.raises(PolicyError, match="its last check failed"):
        releases.promote(signing, project.at("1.0"), "canary", require=("checks",))
    said("PASSED", 3)
    (again,) = release_views.status(signing, [project.at()])
    assert again.channels[0].check is not None
    assert again.channels[0].check.passed


@pytest.mark.parametrize(
    ("kind", "good", "bad", "told"),
    [
        (TEST_RESULT, {"result": "PASSED"}, {"result": "FAILED"}, "checks: its last check failed"),
        (SCAN, {"verdict": "clean"}, {"verdict": "unsafe"}, "scan: its last scan is not clean"),
    ],
    ids=["checks", "scan"],
)
def test_of_two_results_within_one_second_the_bad_one_counts(
    tmp_path: Path,
    signing: Session,
    server: SimulatedRegistry,
    kind: str,
    good: dict[str, str],
    bad: dict[str, str],
    told: str,
) -> None:
    project = Project(tmp_path / "project", signing, f"{server.host}/team/digits")
    project.release("1.0")
    signer = signer_for(signing)
    assert signer is not None
    located = signing.locate(project.at("1.0"), remote=True)
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    # Many good ones: the digest of one of them is before, and of another behind that of the bad one.
    for number, predicate in enumerate([good, good, good, bad, good, good, good]):
        attach_statement(signing, located, kind, {**predicate, "run": number}, signer=signer, now=at)

    with pytest.raises(PolicyError, match=told):
        releases.promote(signing, project.at("1.0"), "production", require=(told.partition(":")[0],))


def test_a_check_that_nobody_trusted_has_signed_counts_for_nothing_where_keys_are_trusted(
    tmp_path: Path, signing: Session, session: Session, server: SimulatedRegistry
) -> None:
    project = Project(tmp_path / "project", signing, f"{server.host}/team/digits")
    project.release("1.0")
    releases.promote(signing, project.at("1.0"), "production")
    write_keys(tmp_path / "strangers", "stranger")
    stranger = signer_for(signing, tmp_path / "strangers/stranger.key")
    assert stranger is not None
    located = signing.locate(project.at("1.0"), remote=True)
    attach_statement(signing, located, TEST_RESULT, {"result": "FAILED"}, signer=stranger)

    (trusting,) = release_views.status(signing, [project.at()])
    (trusting_nobody,) = release_views.status(session, [project.at()])

    assert trusting.channels[0].check is None
    assert trusting_nobody.channels[0].check is not None
    assert trusting_nobody.channels[0].check.signed_by == ()


def test_checks_that_cannot_be_read_are_no_checks_that_passed(
    tmp_path: Path, signing: Session, server: SimulatedRegistry
) -> None:
    project = Project(tmp_path / "project", signing, f"{server.host}/team/digits")
    project.release("1.0")
    releases.promote(signing, project.at("1.0"), "production")
    server.answer(".*/referrers/.*", lambda _: Answer(403))

    (found,) = release_views.status(signing, [project.at()])

    assert found.problem is None
    assert found.channels[0].release is not None
    assert found.channels[0].check is None
    assert found.channels[0].check_problem is not None


def test_without_a_key_nothing_is_attached(tmp_path: Path, session: Session) -> None:
    project = Project(tmp_path / "project", session, "digits")
    project.release("1.0", more=CHECKS.replace("ACCURACY", "1"))

    found = check(session, project.at("1.0"))

    assert found.passed
    assert found.attestation is None


def test_one_check_of_several_is_run_and_shows_too_little_to_be_attached(tmp_path: Path, signing: Session) -> None:
    project = Project(tmp_path / "project", signing, "digits")
    project.release("1.0", more=CHECKS.replace("ACCURACY", "0"))

    found = check(signing, project.at("1.0"), only=["reads its data"])

    assert [one.name for one in found.checks] == ["reads its data"]
    assert found.attestation is None
    with pytest.raises(NotFoundError, match="no check 'speed'"):
        check(signing, project.at("1.0"), only=["speed"])


def test_a_kit_without_checks_shows_nothing(tmp_path: Path, session: Session) -> None:
    project = Project(tmp_path / "project", session, "digits")
    project.release("1.0")

    with pytest.raises(NotFoundError, match="has no checks"):
        check(session, project.at("1.0"))


def test_nothing_is_left_of_the_scratch_directory(tmp_path: Path, session: Session) -> None:
    project = Project(tmp_path / "project", session, "digits")
    project.release("1.0", more=CHECKS.replace("ACCURACY", "1"))
    (tmp_path / "scratch").mkdir()

    check(session, project.at("1.0"), scratch=tmp_path / "scratch")

    assert list((tmp_path / "scratch").iterdir()) == []
