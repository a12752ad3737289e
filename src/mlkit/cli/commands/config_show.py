"""`mlkit config show`."""

from __future__ import annotations

from typing import Any

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="mlkit config show", network=True)
def show(call: Call) -> None:
    """Print each setting with where its value came from."""
    settings = call.settings()
    listed = [
        {"name": name, "value": render.jsonable(settings.shown(name)), "source": source}
        for name, source in settings.sources.items()
    ]
    rows = [(entry["name"], _value(entry["value"]), render.cell(entry["source"])) for entry in listed]
    call.show(listed, render.table(("SETTING", "VALUE", "FROM"), rows))


def _value(value: object) -> str:
    if isinstance(value, list):
        return render.cell(",".join(map(str, value)))
    if isinstance(value, dict):
        pairs = value.items()
        parts = (
            f"{name}: {', '.join(one['urls'])}" if isinstance(one, dict) else f"{name} {one}" for name, one in pairs
        )
        return render.cell("; ".join(parts))
    return render.cell(None if value is None else str(value).lower() if isinstance(value, bool) else str(value))


def _pair(name: str, value: Any) -> str:
    return f"{name}: {', '.join(value['urls'])}" if isinstance(value, dict) else f"{name} {value}"
