"""Checks of kits in the local store and in registries, and what is said of them there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.releases import Project, write_keys

import mlkit
from mlkit.api import checking, releases
from mlkit.api.checking import Checked
from mlkit.api.session import Session
from mlkit.errors import NotFoundError, PolicyError
from mlkit.spec.reference import Reference

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
