"""What answers about lineage say of signatures: whose they are, and with which keys anybody looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.lineage import POISON, Team, weights
from tests.support.releases import write_keys

from mlkit.api import lineage, releases
from mlkit.api.evidence import attach_statement, signer_for
from mlkit.api.session import Session
from mlkit.cli.lineage_text import answer_text, deployed_text
from mlkit.content.layout import Layout
from mlkit.lineage.answer import Answer
from mlkit.server import RunningRegistry
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN


@pytest.fixture
def team(session: Session, tmp_path: Path) -> Team:
    return Team(session, tmp_path / "projects")


@pytest.fixture
def poison(tmp_path: Path) -> str:
    path = tmp_path / "found.csv"
    path.write_bytes(POISON)
    return str(path)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path / "first")) as running:
        yield running.host


def found(answer: Answer) -> dict[str, str]:
    """Names and standings."""
    return {hit.thing.text: str(hit.standing) for hit in answer.hits}


def test_what_a_key_signed_that_is_not_trusted_is_not_said_to_be_unsigned(
    session: Session, other: Session, team: Team, poison: str, first: str, tmp_path: Path
) -> None:
    write_keys(tmp_path / "keys", "theirs")
    for tag, key in (("1", None), ("2", tmp_path / "keys/theirs.key")):
        team.kit(f"model:{tag}", model=weights(tag), datasets={"a.csv": POISON})
        ref = Reference.parse(team.push(f"model:{tag}", f"{first}/team/model:{tag}"))
        releases.promote(session, ref, f"channel{tag}", key=key)
    signer = signer_for(session, tmp_path / "keys/theirs.key")
    assert signer is not None
    attach_statement(session, session.locate(ref, remote=True), COSIGN_SIGN, {}, signer=signer)
    write_keys(tmp_path / "keys", "ours")
    trusting = Session(replace(other.settings, trusted_keys=(tmp_path / "keys/ours.pub",)))

    lineage.index(trusting, [first])
    told = lineage.deployed(trusting, poison)
    report = lineage.audit(trusting, poison)
    trusting.close()

    assert {one.channel: one.is_signed for one in told.deployments} == {"channel1": False, "channel2": True}
    text = " ".join(deployed_text(told).split())
    assert "record not signed)" in text
    assert "record signed by no trusted key)" in text
    evidence = {hit.thing.text.rpartition(":")[2]: hit.steps[-1].evidence for hit in told.answer.hits}
    assert {tag: one is not None and one.is_signed for tag, one in evidence.items()} == {"1": False, "2": True}
    lineage.write_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert ", signed by no trusted key" in page
    assert ", not signed" in page


def test_an_answer_says_which_targets_were_scanned_before_a_key_was_trusted(
    session: Session, other: Session, team: Team, poison: str, first: str, tmp_path: Path
) -> None:
    key = write_keys(tmp_path / "keys", "late")
    signer = signer_for(session, tmp_path / "keys/late.key")
    assert signer is not None
    team.kit("model:1", model=weights("m"), datasets={"a.csv": POISON})
    ref = Reference.parse(team.push("model:1", f"{first}/team/model:1"))
    attach_statement(session, session.locate(ref, remote=True), COSIGN_SIGN, {}, signer=signer)
    lineage.index(other, [first])
    trusting = Session(replace(other.settings, trusted_keys=(tmp_path / "keys/late.pub",)))

    before = lineage.trained_on(trusting, poison)
    lineage.index(trusting, [first], quick=True)  # which asks nothing of kits that are known
    quick = lineage.trained_on(trusting, poison)
    lineage.index(trusting, [first])
    after = lineage.trained_on(trusting, poison)
    trusting.close()

    assert found(before) == found(quick) == {f"{first}/team/model:1": "stated"}
    for answer in (before, quick):
        (target,) = answer.scope.targets
        assert target.unchecked_keys == (key.public.key_id,)
        told = " ".join(answer_text(answer).split())
        assert f"scanned before key {key.public.key_id} was trusted; `mlkit lineage index {first}` looks again" in told
    assert found(after) == {f"{first}/team/model:1": "proved"}
    assert after.scope.targets[0].unchecked_keys == ()
    assert "was trusted" not in answer_text(after)
