"""`mlkit policy schema`."""

from __future__ import annotations

from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="mlkit policy schema > policy-schema.json && head policy-schema.json")
def schema(call: Call) -> None:
    """Print the JSON Schema of policies, for editors."""
    from mlkit.api.policies import policy_schema
    from mlkit.spec.kitfile_schema import render_schema

    found = policy_schema()
    call.show(found, render_schema(found).rstrip("\n"))
