from __future__ import annotations

import pytest

from mlkit.spec.licence_expression import is_allowed, licences_in

ALLOWED = ("MIT", "apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", "Llama 3 Community")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("mit", True),
        ("Apache-2.0", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT and Apache-2.0", True),
        ("GPL-3.0-only AND MIT OR Apache-2.0", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("(MIT)", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only", False),
        ("MIT WITH Classpath-exception-2.0", False),
        ("Llama 3  community", True),
        ("Llama 3", False),
        ("", False),
        ("MIT OR", False),
        ("OR MIT", False),
        ("MIT Apache-2.0", False),
        ("(MIT", False),
        ("MIT)", False),
        ("(" * 100 + "MIT" + ")" * 100, False),
        ("MIT OR " * 500 + "MIT", False),
        ("MIT; DROP", False),
    ],
)
def test_all_of_and_and_one_of_or_must_be_allowed(expression: str, expected: bool) -> None:
    assert is_allowed(expression, ALLOWED) is expected


def test_the_licences_of_an_expression_are_told_apart() -> None:
    assert licences_in("(MIT OR GPL-2.0-only WITH Classpath-exception-2.0) AND MIT") == (
        "MIT",
        "GPL-2.0-only WITH Classpath-exception-2.0",
    )
    assert licences_in("Llama 3 Community") == ("Llama 3 Community",)
