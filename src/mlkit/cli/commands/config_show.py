"""`mlkit config show`."""

from __future__ import annotations

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
        return render.cell("; ".join(f"{host}: {', '.join(table['urls'])}" for host, table in value.items()))
    return render.cell(None if value is None else str(value).lower() if isinstance(value, bool) else str(value))
