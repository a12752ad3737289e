"""The JSON Schema of a policy, from its models. What a schema cannot say is left to `parse_policy`."""

from __future__ import annotations

from typing import Any

from mlkit.spec.kitfile_schema import model_schema
from mlkit.trust import policy_text
from mlkit.trust.policy_text import POLICY_SCHEMA_URL, PolicyFile


def policy_schema() -> dict[str, Any]:
    """What a policy may say."""
    return {**model_schema(PolicyFile, (policy_text,), identity=POLICY_SCHEMA_URL), "title": "mlkit policy"}
