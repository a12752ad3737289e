"""Lineage for other tools: their own classes and programs read what is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import pytest
from tests.support.lineage import POISON, Team, weights
from tests.support.schemas import SCHEMAS

from mlkit.api.lineage_exchange import export
from mlkit.api.session import Session
from mlkit.errors import NetworkError, UsageError

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
HOSTILE = 'x"] --> evil["<script>alert(1)</script>\\'


@pytest.fixture
def tuned(session: Session, tmp_path: Path) -> str:
    """A model that was tuned from another, which was trained with a dataset of a third kit."""
    team = Team(session, tmp_path / "projects")
    data = team.kit("data:1", datasets={"x.csv": POISON})
    base = team.kit("base:1", model=weights("base"), inputs=[f"role: dataset, ref: 'data@{data}'"])
    team.kit("tuned:1", model=weights("tuned"), inputs=[f"role: base-model, ref: 'base@{base}'"])
    return "tuned:1"


def events_of(session: Session, what: str, **options: Any) -> list[dict[str, Any]]:
    text = export(session, what, "openlineage", now=NOON, **options).text
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def catalogue(status: int = 201) -> Iterator[tuple[str, list[tuple[dict[str, str], dict[str, Any]]]]]:
    """A server that takes events as Marquez does; its URL, and the headers and bodies that came."""
    taken: list[tuple[dict[str, str], dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((dict(self.headers), json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1/lineage", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_each_kit_is_a_run_with_what_it_came_from_and_the_earliest_comes_first(session: Session, tuned: str) -> None:
    data, first, second = events_of(session, tuned)

    assert [event["outputs"][0]["name"] for event in (data, first, second)] == ["data", "base", "tuned"]
    assert data["inputs"][0]["namespace"] == "content"
    assert first["inputs"][0]["name"] == "data"
    assert second["inputs"][0]["facets"]["mlkit_evidence"]["role"] == "base-model"
    assert second["inputs"][0]["facets"]["mlkit_evidence"]["standing"] == "stated"
    assert first["outputs"][0]["facets"]["version"] == second["inputs"][0]["facets"]["version"]
    assert first["eventTime"] == "2026-03-03T12:00:00Z"


def test_the_facets_of_every_input_are_as_their_schema_says(session: Session, tuned: str) -> None:
    schemas = {text["$id"]: text for text in (json.loads(path.read_text()) for path in SCHEMAS.glob("*.json"))}
    facets = [one["facets"]["mlkit_evidence"] for event in events_of(session, tuned) for one in event["inputs"]]

    assert len(facets) >= 3
    for facet in facets:
        validator = jsonschema.Draft202012Validator(schemas[facet["_schemaURL"]])
        validator.validate(facet)
        assert not facet.keys() - schemas[facet["_schemaURL"]]["properties"].keys()
        assert not validator.is_valid(facet | {"standing": "sworn"})
        assert not validator.is_valid({name: value for name, value in facet.items() if name != "signedBy"})


def test_the_classes_of_openlineage_take_every_event(session: Session, tuned: str) -> None:
    event_v2 = pytest.importorskip("openlineage.client.event_v2", reason="openlineage-python is not installed")
    serde = pytest.importorskip("openlineage.client.serde")
    for event in events_of(session, tuned):
        read = event_v2.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=event_v2.RunState(event["eventType"]),
            run=event_v2.Run(**event["run"]),
            job=event_v2.Job(**event["job"]),
            inputs=[event_v2.InputDataset(**item) for item in event["inputs"]],
            outputs=[event_v2.OutputDataset(**item) for item in event["outputs"]],
        )
        again = json.loads(serde.Serde.to_json(read))

        assert again["run"]["runId"] == event["run"]["runId"]
        assert again["schemaURL"].partition("#")[2] == event["schemaURL"].partition("#")[2]


def test_an_export_of_the_same_kits_is_the_same_runs(session: Session, tuned: str) -> None:
    def runs(events: list[dict[str, Any]]) -> list[str]:
        return [str(uuid.UUID(event["run"]["runId"])) for event in events]

    assert runs(events_of(session, tuned)) == runs(events_of(session, tuned, refresh=True))


def test_events_go_to_a_catalogue_with_its_token(session: Session, tuned: str) -> None:
    with catalogue() as (url, taken):
        exported = export(session, tuned, "openlineage", now=NOON, send=url, token="secret")

    assert exported.sent == 3
    assert [body for _, body in taken] == [json.loads(line) for line in exported.text.splitlines()]
    assert {headers["Authorization"] for headers, _ in taken} == {"Bearer secret"}


def test_a_catalogue_that_refuses_is_an_error(session: Session, tuned: str) -> None:
    with catalogue(status=400) as (url, taken), pytest.raises(NetworkError, match="answered 400"):
        export(session, tuned, "openlineage", now=NOON, send=url)
    assert len(taken) == 1
    with pytest.raises(UsageError, match="nothing that a catalogue takes"):
        export(session, tuned, "dot", now=NOON, send=url)


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_a_picture_has_every_link_once(session: Session, tuned: str, form: str) -> None:
    text = export(session, tuned, "dot" if form == "dot" else "mermaid", now=NOON).text

    assert text.count("->") >= 2
    assert "base-model" in text.replace("#45;", "-")
    assert "tuned" in text


def test_graphviz_draws_the_picture(session: Session, tuned: str) -> None:
    text = export(session, tuned, "dot", now=NOON).text
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True)
    assert "tuned" in done.stdout


def test_names_with_markup_are_text_in_every_form(session: Session, tmp_path: Path) -> None:
    team = Team(session, tmp_path / "projects")
    address = json.dumps(f"s3://bucket/{HOSTILE}")
    team.kit("model:1", model=weights("a"), inputs=[f"role: dataset, uri: {address}"])

    mermaid, dot = (export(session, "model:1", form, now=NOON).text for form in ("mermaid", "dot"))  # type: ignore[arg-type]  # two of the words

    assert "<script>" not in mermaid
    assert 'evil["' not in mermaid
    assert 'x\\"] --> evil[\\"<script>' in dot
    (event,) = events_of(session, "model:1")
    assert event["inputs"][0]["namespace"] == "s3://bucket"


def test_a_bill_of_materials_names_the_parents(session: Session, tuned: str) -> None:
    bill = json.loads(export(session, tuned, "cyclonedx", now=NOON).text)

    assert bill["bomFormat"] == "CycloneDX"
    assert "pedigree" in json.dumps(bill)
