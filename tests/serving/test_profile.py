"""What a measurement comes to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlkit.errors import IntegrityError
from mlkit.serving.picture import render_html, render_svg
from mlkit.serving.profile import (
    Level,
    Machine,
    Profile,
    level_of,
    parse_profile,
    percentile,
    predicate_of,
    suggest,
)

MIB = 1 << 20


def level(concurrency: int, p95: float, *, failures: int = 0, requests: int = 100, cores: float = 1.0) -> Level:
    return Level(concurrency, requests, failures, 10.0, p95 / 2, p95, p95 * 2, p95 / 2, p95 * 3, cores)


def profile(**changes: Any) -> Profile:
    levels = (level(1, 0.01), level(4, 0.015, cores=1.9), level(16, 0.2))
    suggestion = suggest(levels, peak_memory_bytes=200 * MIB, peak_gpu_bytes=None, needs_gpu=False, ready_seconds=2.0)
    whole = Profile(
        reference="digits:1.2",
        version="1.2",
        runtime="onnx",
        model="model/digits.onnx",
        request="POST /v2/models/digits/infer",
        machine=Machine("Linux x86_64", 2, 8 << 30, ()),
        mlkit="0.1.0",
        measured_at="2026-01-02T03:04:05Z",
        unpack_seconds=0.1,
        unpack_bytes=1000,
        ready_seconds=2.0,
        first_seconds=0.02,
        levels=levels,
        peak_memory_bytes=200 * MIB,
        peak_gpu_bytes=None,
        suggestion=suggestion,
    )
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100), (1, 1), (0, 1)])
def test_percentiles_are_observed_values(percent: float, expected: int) -> None:
    assert percentile([float(value) for value in range(1, 101)], percent) == expected


def test_a_percentile_of_few_is_the_largest_and_of_none_is_nothing() -> None:
    assert percentile([1.0, 2.0], 95) == 2.0
    assert percentile([], 95) == 0.0


def test_a_level_is_told_from_its_latencies_in_any_order() -> None:
    found = level_of(4, [0.3, 0.1, 0.2], failures=2, seconds=1.5, cpu_seconds=0.75)

    assert (found.requests, found.failures, found.per_second) == (3, 2, 2.0)
    assert (found.p50, found.p99, found.slowest, found.mean, found.cores) == (0.2, 0.3, 0.3, 0.2, 0.5)


def test_a_level_without_an_answer_has_no_times() -> None:
    assert level_of(1, [], failures=3, seconds=0.0, cpu_seconds=0.0).per_second == 0.0


def test_resources_are_those_of_the_highest_load_that_waits_little_longer() -> None:
    found = profile().suggestion

    assert found.concurrency == 4
    assert (found.cpu, found.memory, found.memory_limit) == ("2300m", "256Mi", "320Mi")
    assert (found.gpus, found.startup_seconds) == (0, 16)


def test_a_load_with_failures_is_none_to_plan_for() -> None:
    levels = [level(1, 0.01), level(4, 0.01, failures=1), level(16, 0.01, requests=0)]

    found = suggest(levels, peak_memory_bytes=None, peak_gpu_bytes=1, needs_gpu=False, ready_seconds=0.1)

    assert (found.concurrency, found.gpus, found.memory) == (1, 1, "64Mi")


def test_a_profile_comes_back_from_its_predicate_and_fits_the_schema() -> None:
    predicate = json.loads(json.dumps(predicate_of(profile())))
    schema = json.loads((Path(__file__).parents[2] / "schemas/profile-v1.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(predicate)
    assert parse_profile(predicate, what="kit") == profile()
    assert parse_profile({**predicate, "later": 1}, what="kit") == profile()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 3}, "levels"),
        ({"levels": [{}]}, "levels.0"),
        ({"ready_seconds": "soon"}, "ready_seconds"),
        ({"ready_seconds": -1.0}, "a time that is none"),
        ({"ready_seconds": float("inf")}, "a time that is none"),
        ({"machine": None}, "machine"),
    ],
)
def test_somebody_elses_profile_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IntegrityError, match=f"kit: is no profile: {message}"):
        parse_profile({**predicate_of(profile()), **changes}, what="kit")


def test_the_picture_has_a_point_for_each_level_and_line() -> None:
    svg = render_svg(profile())

    assert svg.count("<polyline") == 3
    assert svg.count("<circle") == 9
    assert ">16</text>" in svg
    assert ">10/s</text>" in svg
    assert ">400</text>" in svg  # the p99 of the last level, 400 ms, fits below the top


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a'b\"c", "a\u202eb\x00"])
def test_nothing_from_a_kit_gets_into_the_page_as_markup(name: str) -> None:
    page = render_html(profile(reference=name, model=name, version=name))

    assert "<script" not in page
    assert "a'b" not in page
    assert "\u202e" not in page
    assert "\x00" not in page


def test_a_picture_without_levels_is_still_one() -> None:
    assert render_svg(profile(levels=())).startswith("<svg")
    assert "</svg>" in render_html(profile(levels=(), peak_memory_bytes=None, peak_gpu_bytes=1 << 30))
