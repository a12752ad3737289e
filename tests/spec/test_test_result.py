"""Results of tests: when they count as passed."""

from __future__ import annotations

from typing import Any

import pytest

from mlkit.spec.test_result import is_passed


@pytest.mark.parametrize("predicate", [{"result": "PASSED"}, {"result": "PASSED", "failedTests": []}])
def test_a_clear_yes_is_passed(predicate: dict[str, Any]) -> None:
    assert is_passed(predicate)


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"result": "FAILED"},
        {"result": "WARNED"},
        {"result": "passed"},
        {"result": True},
        {"result": ["PASSED"]},
        {"result": "PASSED", "failedTests": ["accuracy"]},
        {"result": "PASSED", "failedTests": "accuracy"},
    ],
)
def test_anything_else_is_not(predicate: dict[str, Any]) -> None:
    assert not is_passed(predicate)
