from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.digest import Digest
from mlkit.spec.run_record import (
    ITEM_LIMIT,
    Produced,
    RunRecord,
    Used,
    check_run_name,
    parse_run_record,
    render_run_record,
)

TRAIN = Digest.of(b"train")
RECORD = RunRecord(
    "train",
    "2026-03-03T10:00:00Z",
    "2026-03-03T11:00:00Z",
    "succeeded",
    uses=(
        Used("dataset", "data/train.csv", TRAIN),
        Used("base-model", "base:1", TRAIN, ref=f"base:1@{TRAIN}"),
        Used("dataset", "s3://b/k", uri="s3://b/k"),
    ),
    produces=(Produced("model.bin", Digest.of(b"model"), 5),),
    parameters={"lr": "0.1"},
    metrics={"acc": "0.95"},
)


def test_a_record_reads_back() -> None:
    assert parse_run_record(render_run_record(RECORD), what="record") == RECORD


def test_a_kit_says_what_a_run_used_and_nothing_of_when() -> None:
    later = replace(RECORD, started="2027-01-01T00:00:00Z", ended="2027-01-01T01:00:00Z")

    own, data, base, far = RECORD.inputs()

    assert later.inputs() == RECORD.inputs()
    assert (own.role, own.name, own.facts) == (
        "run",
        "train",
        (("metric.acc", "0.95"), ("parameter.lr", "0.1"), ("run", "train")),
    )
    assert (data.role, data.digest, data.facts) == ("dataset", TRAIN, (("run", "train"),))
    assert (base.ref, far.uri) == (f"base:1@{TRAIN}", "s3://b/k")


def test_runs_that_used_other_things_are_others() -> None:
    other = replace(RECORD, uses=RECORD.uses[:1])

    assert other.inputs()[0].digest != RECORD.inputs()[0].digest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value.update(schemaVersion=2), id="another version"),
        pytest.param(lambda value: value.update(name="../x"), id="a name that climbs"),
        pytest.param(lambda value: value.update(outcome="maybe"), id="an unknown outcome"),
        pytest.param(lambda value: value.pop("uses"), id="no uses"),
        pytest.param(lambda value: value["uses"].append(1), id="a number among the uses"),
        pytest.param(lambda value: value["uses"][0].update(role="thief"), id="an unknown role"),
        pytest.param(lambda value: value["uses"][0].update(digest="sha256:x"), id="a digest that is none"),
        pytest.param(lambda value: value["produces"][0].update(size=-1), id="a negative size"),
        pytest.param(lambda value: value["produces"][0].update(size=True), id="a size that is a truth value"),
        pytest.param(lambda value: value["produces"][0].pop("digest"), id="an output without digest"),
        pytest.param(lambda value: value.update(parameters=[]), id="parameters in a list"),
        pytest.param(lambda value: value["metrics"].update(acc=0.9), id="a metric that is a number"),
    ],
)
def test_another_shape_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(render_run_record(RECORD))
    change(value)

    with pytest.raises(IntegrityError):
        parse_run_record(json.dumps(value).encode(), what="record")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value.update(started="x" * 4097), id="a long text"),
        pytest.param(lambda value: value.update(metrics=dict.fromkeys(map(str, range(256)), "1")), id="many metrics"),
        pytest.param(lambda value: value.update(uses=value["uses"] * 10_000), id="many uses"),
    ],
)
def test_limits_hold(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(render_run_record(RECORD))
    change(value)

    with pytest.raises(LimitError):
        parse_run_record(json.dumps(value).encode(), what="record")


def test_what_would_not_be_read_again_is_not_written() -> None:
    render_run_record(replace(RECORD, uses=RECORD.uses[:1] * ITEM_LIMIT))

    with pytest.raises(LimitError, match="20001 inputs"):
        render_run_record(replace(RECORD, uses=RECORD.uses[:1] * (ITEM_LIMIT + 1)))


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "ä", "x" * 101])
def test_a_name_that_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(IntegrityError):
        check_run_name(name)
