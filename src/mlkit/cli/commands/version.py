"""`mlkit version`."""

from __future__ import annotations

from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.version import version_text


@command(example="mlkit version")
def version(call: Call) -> None:
    """Print the version."""
    print(version_text(as_json=call.general.as_json))
