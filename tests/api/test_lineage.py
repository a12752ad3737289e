"""What came of a dataset: every way in which a poisoned file can have got into a model, on real kits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.lineage import POISON, Team, weights

import mlkit
from mlkit.api import lineage, releases
from mlkit.api.evidence import attach_statement
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import NotFoundError, StoreError, UsageError
from mlkit.lineage.answer import Answer
from mlkit.server import RunningRegistry
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE
from mlkit.trust.keys import generate

Found = dict[str, str]


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


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path / "second")) as running:
        yield running.host


def found(answer: Answer) -> Found:
    """Names and standings."""
    return {hit.thing.text: str(hit.standing) for hit in answer.hits}


def test_a_file_is_found_in_every_model_that_used_it(
    session: Session, team: Team, poison: str, first: str, second: str
) -> None:
    direct = (
        team.push("direct:1", f"{first}/team/direct:1")
        if team.kit("direct:1", model=weights("direct"), datasets={"data/train.csv": POISON})
        else ""
    )
    data = team.kit("data:1", datasets={"renamed/x.csv": POISON})
    data_ref = team.push("data:1", f"{first}/team/data:1")
    derived = team.kit(
        "derived:1", datasets={"clean.csv": b"y" * 900}, inputs=[f"role: dataset, ref: '{data_ref}@{data}'"]
    )
    derived_ref = team.push("derived:1", f"{second}/team/derived:1")
    base = team.kit("base:1", model=weights("base"), inputs=[f"role: dataset, ref: '{derived_ref}@{derived}'"])
    base_ref = team.push("base:1", f"{second}/team/base:1")
    tuned = team.kit("tuned:1", model=weights("tuned"), inputs=[f"role: base-model, ref: '{base_ref}@{base}'"])
    tuned_ref = team.push("tuned:1", f"{first}/team/tuned:1")
    team.kit("again:1", model=weights("again"), inputs=[f"role: base-model, ref: '{tuned_ref}@{tuned}'"])
    again_ref = team.push("again:1", f"{second}/other/again:1")
    team.kit("innocent:1", model=weights("innocent"), datasets={"ok.csv": b"z" * 900})
    team.push("innocent:1", f"{first}/team/innocent:1")

    indexed = lineage.index(session, [first, second])
    answer = lineage.trained_on(session, poison)

    assert indexed.is_whole
    assert [scan.read for scan in indexed.scans] == [4, 3]
    assert found(answer) == dict.fromkeys([direct, data_ref, derived_ref, base_ref, tuned_ref, again_ref], "stated")
    steps = {hit.thing.text: [step.relation for step in hit.steps] for hit in answer.hits}
    assert steps[again_ref] == [None, "is in", "was used by", "was used by", "is the base of", "is the base of"]
    names = {hit.thing.text: hit.steps[1].name for hit in answer.hits}
    assert (names[direct], names[data_ref]) == ("data/train.csv", "renamed/x.csv")


def test_a_whole_registry_is_scanned_and_again_for_what_moved(
    session: Session, team: Team, poison: str, host: str
) -> None:
    team.kit("a:1", model=weights("a"), datasets={"x.csv": POISON})
    team.kit("b:1", model=weights("b"))
    for name in ("a", "b"):
        team.push(f"{name}:1", f"{host}/team/{name}:1")
    attach_statement(
        session, session.locate(Reference.parse(f"{host}/team/a:1"), remote=True), COSIGN_SIGN, {}, signer=generate()
    )
    (first,) = lineage.index(session, [host]).scans
    team.push("a:1", f"{host}/team/b:1")
    (second,) = lineage.index(session, [host]).scans

    assert (first.read, first.known, first.problem, first.failed) == (2, 0, None, {})
    assert (second.read, second.known, second.is_unchanged) == (0, 2, False)
    (hit,) = lineage.trained_on(session, poison).hits
    assert set(hit.thing.names) == {f"{host}/team/a:1", f"{host}/team/b:1"}


def test_the_same_bytes_in_another_kit_are_inferred_and_not_stated(session: Session, team: Team) -> None:
    team.kit("data:1", datasets={"a.csv": POISON})
    team.kit("copy:1", model=weights("copy"), datasets={"b.csv": POISON})

    answer = lineage.trained_on(session, "data:1")

    assert found(answer) == {"copy:1": "inferred"}


def test_a_model_that_was_packed_again_is_inferred_to_be_the_same(session: Session, team: Team, poison: str) -> None:
    team.kit("one:1", model=weights("one"), datasets={"a.csv": POISON})
    team.kit("repacked:1", model=weights("one"))

    assert found(lineage.trained_on(session, poison)) == {"one:1": "stated", "repacked:1": "inferred"}


def test_a_base_model_is_not_blamed_for_what_was_tuned_from_it(session: Session, team: Team, poison: str) -> None:
    """The tuned kit carries the weights of its base along; they were there before the poison was."""
    base = team.kit("base:1", model=weights("base"))
    team.kit(
        "tuned:1",
        model=weights("base"),
        datasets={"a.csv": POISON},
        inputs=[f"role: base-model, ref: 'base:1@{base}'"],
    )

    assert found(lineage.trained_on(session, poison)) == {"tuned:1": "stated"}


def test_small_files_that_are_equal_by_chance_tell_nothing(session: Session, team: Team) -> None:
    team.kit("data:1", datasets={"a.csv": b"id\n"})
    team.kit("other:1", model=weights("other"), datasets={"b.csv": b"id\n"})

    assert found(lineage.trained_on(session, "data:1")) == {}


def test_other_datasets_of_a_kit_are_not_made_of_the_one_that_was_asked_for(
    session: Session, team: Team, poison: str
) -> None:
    team.kit("both:1", model=weights("both"), datasets={"a.csv": POISON, "b.csv": b"b" * 900})
    team.kit("fine:1", model=weights("fine"), datasets={"b.csv": b"b" * 900})

    assert found(lineage.trained_on(session, poison)) == {"both:1": "stated"}


def test_a_name_without_a_digest_is_followed_and_said_to_be_one(session: Session, team: Team, poison: str) -> None:
    team.kit("data:1", datasets={"a.csv": POISON})
    team.kit("model:1", model=weights("model"), inputs=["role: code, uri: 'oci://data:1'"])

    answer = lineage.trained_on(session, poison)

    assert found(answer) == {"data:1": "stated", "model:1": "inferred"}


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("s3://bucket/data/train.csv", "s3://bucket/data"),
        ("s3://bucket/data/train.csv", "s3://bucket/data/train.csv?X-Amz-Signature=secret"),
        ("hf://datasets/org/name@abc123", "hf://datasets/org/name"),
        ("hf://datasets/org/name@abc123", "https://huggingface.co/datasets/org/name/tree/abc123"),
        ("dvc+md5:0123456789abcdef0123456789abcdef", "md5:0123456789abcdef0123456789abcdef"),
        ("git+https://host.example/repo.git@c0ffee", "git+https://host.example/repo@c0ffee"),
    ],
)
def test_addresses_are_found_however_they_are_written(session: Session, team: Team, told: str, asked: str) -> None:
    team.kit("model:1", model=weights("model"), inputs=[f"role: dataset, uri: '{told}'"])

    assert found(lineage.trained_on(session, asked)) == {"model:1": "stated"}


def test_an_unpinned_use_is_only_inferred_to_be_of_a_revision(session: Session, team: Team) -> None:
    team.kit("model:1", model=weights("model"), inputs=["role: dataset, uri: 'hf://datasets/org/name'"])
    team.kit("other:1", model=weights("other"), inputs=["role: dataset, uri: 'hf://datasets/org/name@def'"])

    assert found(lineage.trained_on(session, "hf://datasets/org/name@abc")) == {"model:1": "inferred"}


def test_a_directory_is_all_of_its_files(session: Session, team: Team, tmp_path: Path) -> None:
    team.kit("model:1", model=weights("model"), datasets={"x.csv": POISON})
    folder = tmp_path / "folder/deep"
    folder.mkdir(parents=True)
    (folder / "y.csv").write_bytes(POISON)
    (folder / "empty").touch()

    assert found(lineage.trained_on(session, str(tmp_path / "folder"))) == {"model:1": "stated"}


def test_a_directory_is_found_by_what_dvc_calls_it(session: Session, team: Team, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"a\n")
    (folder / "sub/b.csv").write_bytes(b"b\n")
    (folder / "sub.csv").write_bytes(b"c\n")
    # What dvc-data itself (Tree.digest) gives for these three files.
    told = "md5:058eb9fd55e2f8633b7d311924e42ce5.dir"
    team.kit("model:1", model=weights("model"), inputs=[f"role: dataset, uri: '{told}'"])

    answer = lineage.trained_on(session, str(folder))

    assert found(answer) == {"model:1": "stated"}


def test_a_kit_that_is_gone_can_still_be_asked_about(session: Session, team: Team, first: str) -> None:
    data = team.kit("data:1", datasets={"a.csv": POISON})
    ref = team.push("data:1", f"{first}/team/data:1")
    team.kit("model:1", model=weights("model"), inputs=[f"role: dataset, ref: '{ref}@{data}'"])
    lineage.index(session, [str(session.settings.home), f"{first}/team/data"])
    mlkit.remove(ref, remote=True, session=session)
    mlkit.remove("data:1", session=session)

    assert found(lineage.trained_on(session, ref)) == {"model:1": "stated"}


def test_what_nobody_knows_is_an_error_and_what_nobody_used_is_an_answer(
    session: Session, team: Team, tmp_path: Path
) -> None:
    team.kit("data:1", datasets={"a.csv": POISON})
    (tmp_path / "unused.csv").write_text("unused\n")

    answer = lineage.trained_on(session, str(tmp_path / "unused.csv"))

    assert answer.hits == ()
    assert [gap.what for gap in answer.gaps] == [str(tmp_path / "unused.csv")]
    assert answer.scope.is_whole
    with pytest.raises(NotFoundError):
        lineage.trained_on(session, "nobody:1")
    with pytest.raises(NotFoundError):
        lineage.trained_on(session, "./nothing.csv")
    with pytest.raises(UsageError):
        lineage.index(session, ["not a place"])


def test_deleting_the_index_and_scanning_again_gives_the_same_answer(
    session: Session, team: Team, poison: str, first: str
) -> None:
    data = team.kit("data:1", datasets={"a.csv": POISON})
    ref = team.push("data:1", f"{first}/team/data:1")
    team.kit("model:1", model=weights("model"), inputs=[f"role: dataset, ref: '{ref}@{data}'"])
    team.push("model:1", f"{first}/team/model:1")
    lineage.index(session, [first])
    before = lineage.trained_on(session, poison)

    for file in session.settings.home.glob(".mlkit/lineage.sqlite*"):
        file.unlink()
    lineage.index(session)
    after = lineage.trained_on(session, poison)

    assert found(after).items() >= found(before).items()
    assert set(found(before)) == {f"{first}/team/data:1", f"{first}/team/model:1"}
    assert {target.name for target in after.scope.targets} == {first, str(session.settings.home)}


def test_the_second_scan_of_an_unchanged_registry_asks_for_nothing(session: Session, team: Team, first: str) -> None:
    team.kit("data:1", datasets={"a.csv": POISON})
    team.push("data:1", f"{first}/team/data:1")
    lineage.index(session, [first])

    again = lineage.index(session, [first])
    shutil.rmtree(session.settings.home / "blobs")

    assert [(scan.is_unchanged, scan.known) for scan in again.scans] == [(True, 1)]


@pytest.mark.parametrize("damage", ["text", "pages"])
def test_a_corrupt_index_is_made_again_from_all_that_was_scanned_and_it_is_said(
    session: Session, team: Team, poison: str, first: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.kit("data:1", datasets={"a.csv": POISON})
    ref = team.push("data:1", f"{first}/team/data:1")
    lineage.index(session, [first])
    path = session.settings.home / ".mlkit/lineage.sqlite"
    raw = path.read_bytes()
    path.write_bytes(b"rubbish" * 1000 if damage == "text" else raw[:4096] + b"\xff" * (len(raw) - 4096))
    said: list[str] = []
    monkeypatch.setattr(session.progress, "warn", said.append)

    answer = lineage.trained_on(session, poison)

    assert {ref, "data:1"} & set(found(answer))
    assert {target.name for target in answer.scope.targets} == {first, str(session.settings.home)}
    assert any("was corrupt" in text for text in said)
    assert len(list(path.parent.glob("lineage.sqlite.broken-*"))) == 1


def test_what_runs_where_is_told_from_the_history_of_channels(
    session: Session, team: Team, poison: str, first: str
) -> None:
    team.kit("model:1", model=weights("one"), datasets={"a.csv": POISON})
    team.push("model:1", f"{first}/team/model:1")
    team.kit("model:2", model=weights("two"))
    team.push("model:2", f"{first}/team/model:2")
    for tag in ("1", "2"):
        releases.promote(session, Reference.parse(f"{first}/team/model:{tag}"), "production")
    lineage.index(session, [first])

    told = lineage.deployed(session, poison)

    (one,) = told.deployments
    assert (one.place, one.channel, one.thing.text) == (f"{first}/team/model", "production", f"{first}/team/model:1")
    assert one.until is not None
    assert str(one.standing) == "stated"


def test_what_a_trusted_key_signed_is_proved_whoever_else_signs(
    session: Session, other: Session, team: Team, poison: str, first: str, tmp_path: Path
) -> None:
    ours, theirs = generate(), generate()
    for name, key in (("signed", ours), ("forged", theirs), ("unsigned", None)):
        team.kit(f"{name}:1", model=weights(name), datasets={"a.csv": POISON})
        ref = Reference.parse(team.push(f"{name}:1", f"{first}/team/{name}:1"))
        if key is not None:
            attach_statement(session, session.locate(ref, remote=True), COSIGN_SIGN, {}, signer=key)
    (tmp_path / "ours.pub").write_text(ours.public.pem)
    trusting = Session(replace(other.settings, trusted_keys=(tmp_path / "ours.pub",)))

    lineage.index(trusting, [first])
    answer = lineage.trained_on(trusting, poison)
    trusting.close()

    assert found(answer) == {
        f"{first}/team/signed:1": "proved",
        f"{first}/team/forged:1": "stated",
        f"{first}/team/unsigned:1": "stated",
    }
    assert answer.scope.keys == (ours.public.key_id,)


def test_provenance_of_another_builder_is_an_input(session: Session, team: Team, first: str) -> None:
    team.kit("model:1", model=weights("one"))
    ref = Reference.parse(team.push("model:1", f"{first}/team/model:1"))
    used = {"uri": "s3://bucket/x", "digest": {"sha256": "ab" * 32}}
    predicate = {"buildDefinition": {"resolvedDependencies": [used]}}
    attach_statement(session, session.locate(ref, remote=True), SLSA_PROVENANCE, predicate, signer=generate())
    lineage.index(session, [first])

    for asked in ("s3://bucket/x", "sha256:" + "ab" * 32):
        assert found(lineage.trained_on(session, asked)) == {str(ref): "stated"}


def test_a_report_is_written_whole_in_each_form(session: Session, team: Team, poison: str, tmp_path: Path) -> None:
    team.kit("model:1", model=weights("one"), datasets={"a.csv": POISON})
    report = lineage.audit(session, poison)

    for suffix in ("html", "json", "csv"):
        lineage.write_report(report, tmp_path / f"report.{suffix}")

    assert "<!DOCTYPE html>" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["counts"] == {"proved": 0, "stated": 1, "inferred": 0}
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 3
    with pytest.raises(UsageError, match="ends in"):
        lineage.write_report(report, tmp_path / "report.docx")
    with pytest.raises(StoreError):
        lineage.write_report(report, tmp_path / "nowhere/report.html")
