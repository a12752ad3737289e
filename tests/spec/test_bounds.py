from __future__ import annotations

import pytest

from mlkit.errors import UsageError
from mlkit.spec.bounds import Bound
from mlkit.spec.kitfile import parse_kitfile


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("accuracy >= 0.95", 0.95, True),
        ("accuracy >= 0.95", 0.9499, False),
        ("loss<1e-3", 0.0009, True),
        ("loss < 0.5", 0.5, False),
        ("count == 3", 3, True),
        ("count != 3", 3, False),
        ("drift > -1", -1, False),
        ("p95 <= 200", 199, True),
    ],
)
def test_a_bound_holds_or_not(text: str, value: float, holds: bool) -> None:
    assert Bound.parse(text).holds(value) is holds


@pytest.mark.parametrize(
    "text", ["", "accuracy", "accuracy => 1", ">= 1", "a >= b", "a >= 1e999", "a >= 1; b", "a >= nan"]
)
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Bound.parse(text)


def test_a_metric_is_found_by_its_whole_name_or_inside_of_others() -> None:
    metrics = {"test": {"accuracy": 0.9}, "a.b": 1, "yes": True, "text": "0.9"}

    assert Bound.parse("test.accuracy > 0").value(metrics) == 0.9
    assert Bound.parse("a.b > 0").value(metrics) == 1
    for missing in ("test.loss > 0", "test > 0", "yes > 0", "text > 0", "none > 0"):
        assert Bound.parse(missing).value(metrics) is None


def test_a_kitfile_says_what_a_check_measures() -> None:
    kitfile = parse_kitfile(
        b"""\
manifestVersion: "1.0.0"
model: {path: model.bin}
checks:
  - name: accuracy
    run: [python, evaluate.py]
    timeout: 60
    environment: {SEED: 7}
    exitCode: 3
    metrics: out/metrics.json
    bounds: [accuracy >= 0.95]
"""
    )

    (check,) = kitfile.checks
    assert (check.environment, check.exit_code, check.metrics) == ({"SEED": "7"}, 3, "out/metrics.json")
    assert check.bounds == ("accuracy >= 0.95",)


@pytest.mark.parametrize(
    "line",
    [
        "bounds: [accuracy >= 0.95]",
        "{metrics: m.json, bounds: [accuracy]}",
        "metrics: ../m.json",
        "exitCode: 256",
        "exitCode: true",
        "environment: [A]",
        "environment: {1A: x}",
        "environment: {A: [x]}",
    ],
)
def test_what_a_check_cannot_mean_is_refused(line: str) -> None:
    more = line.strip("{}") if line.startswith("{") else line
    text = f'manifestVersion: "1.0.0"\nmodel: {{path: m}}\nchecks:\n  - {{name: x, run: [a], {more}}}\n'

    with pytest.raises(UsageError):
        parse_kitfile(text.encode())


@pytest.mark.parametrize(
    ("text", "shown"), [(" a.b>=0.950 ", "a.b >= 0.95"), ("loss < 1e-3", "loss < 0.001"), ("n == 3", "n == 3")]
)
def test_a_bound_is_shown_in_one_form_and_read_from_it(text: str, shown: str) -> None:
    assert str(Bound.parse(text)) == shown
    assert Bound.parse(shown) == Bound.parse(text)
