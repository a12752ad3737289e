"""Results of tests as in-toto states them: which passed, which failed, and what was run.

github.com/in-toto/attestation, spec/predicates/test-result.md, version 0.1. Names that are not of the specification
stand under `mlkit`, and are passed by by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


def is_passed(predicate: Mapping[str, Any]) -> bool:
    """Whether all that was run passed; anything else than a clear yes is none."""
    return predicate.get("result") == "PASSED" and not predicate.get("failedTests")
