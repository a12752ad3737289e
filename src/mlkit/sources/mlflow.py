"""The MLflow run that a model came from: `MLmodel` names it, and a local tracking store says the rest.

MLflow, "MLflow Models" (the `MLmodel` file) and "Backend Stores": files below `mlruns/`, or SQLite in `mlflow.db`.
Tracking servers are not asked: packing needs no network.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mlkit.errors import IntegrityError, LimitError
from mlkit.sources.small_files import read_mapping, read_small
from mlkit.spec.addresses import public_address
from mlkit.spec.json_text import parse_object
from mlkit.spec.yaml_text import Scalar

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_RUN = re.compile(r"[0-9a-f]{32}")
_LIMIT = 256 * 1024  # bytes of a YAML file
_VALUE_LIMIT = 64 * 1024  # bytes of the file of one parameter, or of the history of one metric
_MANY = 100  # parameters, metrics and datasets of a run, each


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that a run logged with `mlflow.log_input`."""

    name: str
    digest: str
    """As MLflow computes it: of a sample, in no way a digest of the bytes."""
    source: str | None
    """JSON of what MLflow knows of its place."""

    @property
    def uri(self) -> str | None:
        """The address in `source`, without what may be secret in it; None where it has none."""
        try:
            said = parse_object((self.source or "{}").encode("utf-8"), what="source")
        except (IntegrityError, LimitError):
            return None
        found = said.get("uri", said.get("url"))
        return public_address(found) if isinstance(found, str) and _URI.match(found) else None


@dataclass(frozen=True, slots=True)
class Run:
    """What a run recorded."""

    run_id: str
    """32 hex digits."""
    experiment_id: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    """The last value of each."""
    datasets: tuple[Dataset, ...] = ()


def run_of_model(mlmodel: Path) -> str | None:
    """The run that an `MLmodel` file names; None where it names none."""
    run_id = _text(read_mapping(mlmodel, limit=_LIMIT).get("run_id"))
    return run_id if run_id is not None and _RUN.fullmatch(run_id) else None


def run(directory: Path, run_id: str) -> Run:
    """What the tracking store in `directory` says of a run; only its id where there is no such store or run."""
    database = directory / "mlflow.db"
    found = _from_files(directory / "mlruns", run_id)
    if found is None and database.is_file():
        found = _from_database(database, run_id)
    return found or Run(run_id)


def _from_files(store: Path, run_id: str) -> Run | None:
    for experiment in _names(store):
        place = store / experiment / run_id
        if place.is_dir():
            return Run(
                run_id,
                experiment,
                dict(_values(place / "params", last_line=False)),
                {name: text.split(" ")[1] for name, text in _values(place / "metrics", last_line=True) if " " in text},
                tuple(_file_datasets(store / experiment, place)),
            )
    return None


def _values(place: Path, *, last_line: bool) -> Iterable[tuple[str, str]]:
    for name in _names(place)[:_MANY]:
        raw = read_small(place / name, limit=_VALUE_LIMIT)
        lines = (raw or b"").decode("utf-8", "replace").strip("\n").split("\n")
        if raw is not None:
            yield name, lines[-1] if last_line else "\n".join(lines)


def _file_datasets(experiment: Path, run_place: Path) -> Iterable[Dataset]:
    for name in _names(run_place / "inputs")[:_MANY]:
        source = _text(read_mapping(run_place / "inputs" / name / "meta.yaml", limit=_LIMIT).get("source_id"))
        if source is None or "/" in source or source.startswith("."):
            continue
        said = read_mapping(experiment / "datasets" / source / "meta.yaml", limit=_LIMIT)
        called, digest = _text(said.get("name")), _text(said.get("digest"))
        if called and digest:
            yield Dataset(called, digest, _text(said.get("source")))


def _from_database(path: Path, run_id: str) -> Run | None:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as base:
            row = base.execute("SELECT experiment_id FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
            if row is None:
                return None
            ask = "SELECT key, value FROM {} WHERE run_uuid = ? ORDER BY key LIMIT ?"
            parameters = base.execute(ask.format("params"), (run_id, _MANY)).fetchall()
            metrics = base.execute(ask.format("latest_metrics"), (run_id, _MANY)).fetchall()
            datasets = base.execute(
                "SELECT d.name, d.digest, d.dataset_source FROM inputs i"
                " JOIN datasets d ON d.dataset_uuid = i.source_id"
                " WHERE i.source_type = 'DATASET' AND i.destination_id = ?"
                " ORDER BY d.name, d.digest LIMIT ?",
                (run_id, _MANY),
            ).fetchall()
    except sqlite3.Error:
        return None  # another version's tables, or no database: it says nothing
    return Run(
        run_id,
        str(row[0]),
        {str(name): str(value) for name, value in parameters},
        {str(name): repr(value) if isinstance(value, float) else str(value) for name, value in metrics},
        tuple(Dataset(str(name), str(digest), None if at is None else str(at)) for name, digest, at in datasets),
    )


def _names(place: Path) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError:
        return []


def _text(value: object) -> str | None:
    value = value.text if isinstance(value, Scalar) else value
    return value if isinstance(value, str) and value else None
