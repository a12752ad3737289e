"""What a catalogue knows, brought into the index: files of OpenLineage events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.lineage import POISON, Team, weights

from mlkit.api import lineage
from mlkit.api.lineage_exchange import export
from mlkit.api.session import Session

RUN = "0176a8c2-fe01-7439-87e6-56a1a1b4029f"


def _dataset(address: str) -> dict[str, str]:
    namespace, _, name = address.rpartition("/")
    return {"namespace": namespace, "name": name}


def event(kind: str, run: str = RUN, *, inputs: list[Any] | None = None, outputs: list[Any] | None = None) -> str:
    def sets(some: list[Any] | None) -> list[Any]:
        return [
            {"namespace": one.rpartition("/")[0], "name": one.rpartition("/")[2]} if isinstance(one, str) else one
            for one in some or []
        ]

    value = {
        "eventType": kind,
        "eventTime": "2026-03-03T12:00:00Z",
        "producer": "https://spark.example",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run},
        "job": {"namespace": "spark", "name": "clean customers"},
        "inputs": sets(inputs),
        "outputs": sets(outputs),
    }
    return json.dumps(value) + "\n"


@pytest.fixture
def model(session: Session, tmp_path: Path) -> str:
    """A kit whose dataset is an address that nobody but a catalogue knows the origin of."""
    team = Team(session, tmp_path / "projects")
    team.kit("model:1", model=weights("a"), inputs=["role: dataset, uri: 's3://lake/clean'"])
    return "model:1"


def names(session: Session, what: str) -> dict[str, str]:
    answer = lineage.trained_on(session, what, refresh=True)
    return {hit.thing.text: str(hit.standing) for hit in answer.hits}


def test_a_model_is_found_through_a_job_that_only_the_catalogue_knows(
    session: Session, model: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    # As Spark does: what it reads when it starts, what it writes when it ends.
    events.write_text(event("START", inputs=["s3://lake/raw"]) + event("COMPLETE", outputs=["s3://lake/clean"]))
    before = names(session, "s3://lake/raw")

    indexed = lineage.index(session, [f"openlineage:{events}"])

    assert before == {}
    assert indexed.is_whole
    assert names(session, "s3://lake/raw") == {model: "stated"}


def test_what_is_indexed_is_there_again_when_the_index_is_made_again(
    session: Session, model: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(event("COMPLETE", inputs=["s3://lake/raw"], outputs=["s3://lake/clean"]))
    lineage.index(session, [f"openlineage:{events}"])
    for path in session.settings.home.rglob("lineage*.sqlite*"):
        path.unlink()

    assert names(session, "s3://lake/raw") == {model: "stated"}


@pytest.mark.parametrize("kind", ["START", "FAIL", "ABORT"])
def test_a_run_that_was_not_completed_says_nothing(session: Session, model: str, tmp_path: Path, kind: str) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(event(kind, inputs=["s3://lake/raw"], outputs=["s3://lake/clean"]))
    lineage.index(session, [f"openlineage:{events}"])

    assert names(session, "s3://lake/raw") == {}


def test_what_mlkit_exports_it_reads_again(session: Session, tmp_path: Path) -> None:
    team = Team(session, tmp_path / "projects")
    data = team.kit("data:1", datasets={"x.csv": POISON})
    team.kit("model:1", model=weights("a"), inputs=[f"role: dataset, ref: 'data@{data}'"])
    text = export(session, "model:1", "openlineage", now=datetime(2026, 3, 3, tzinfo=UTC)).text
    events = tmp_path / "events.jsonl"
    events.write_text(text + "\n")

    indexed = lineage.index(session, [f"openlineage:{events}"])

    assert indexed.is_whole
    assert indexed.scans[0].read == 2
    assert "model:1" in names(session, str(data))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"x": 1}',
        '{"run": {}}',
        '{"run": {"runId": 7}}',
        '{"run": 1, "run": 2}',
        "\x00",
        '"' + "x" * 2_000_000 + '"',
    ],
    ids=["cut", "list", "other", "no id", "number", "twice", "NUL", "large"],
)
def test_what_is_no_event_makes_the_target_partial_and_says_the_line(
    session: Session, tmp_path: Path, text: str
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(event("COMPLETE", inputs=["s3://a/b"], outputs=["s3://c/d"]) + text + "\n")

    indexed = lineage.index(session, [f"openlineage:{events}"])

    assert not indexed.is_whole
    assert "line 2" in str(indexed.scans[0].problem)


def test_a_file_that_is_gone_is_told(session: Session, tmp_path: Path) -> None:
    indexed = lineage.index(session, [f"openlineage:{tmp_path / 'missing.jsonl'}"])

    assert "no such file of events" in str(indexed.scans[0].problem)


def test_a_run_with_more_links_than_are_kept_says_so(session: Session, tmp_path: Path) -> None:
    many = [f"s3://lake/{number}" for number in range(250)]
    events = tmp_path / "events.jsonl"
    events.write_text(event("COMPLETE", inputs=many, outputs=[f"{one}-out" for one in many]))

    indexed = lineage.index(session, [f"openlineage:{events}"])

    assert "left out" in str(indexed.scans[0].failed)


def test_odd_datasets_are_passed_over(session: Session, tmp_path: Path) -> None:
    odd = [1, "x", {}, {"namespace": 1, "name": 2}, {"namespace": "a\nb", "name": "c"}, {"namespace": "", "name": ""}]
    odd += [{"namespace": "oci://h", "name": "r", "facets": {"version": {"datasetVersion": "sha256:../x"}}}]
    events = tmp_path / "events.jsonl"
    events.write_text(event("COMPLETE", inputs=[one for one in odd if not isinstance(one, str)], outputs=["s3://c/d"]))

    assert lineage.index(session, [f"openlineage:{events}"]).is_whole
