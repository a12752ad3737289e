"""`mlkit registry serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mlkit.api.serving import registry_serve
from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="mlkit registry serve --port 5000")
def serve(
    call: Call,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="An OCI layout to serve, if not the local store.")
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Where to listen; beyond loopback anybody can read and write."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.")] = 5000,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
) -> None:
    """Serve the local store, or a folder, as an OCI registry.

    Prints the address when it is ready, and serves until Ctrl-C.
    """

    def ready(url: str) -> None:
        print(json.dumps({"url": url}) if call.general.as_json else url, flush=True)
        call.say("serving; Ctrl-C ends it")

    with call.session() as session:
        registry_serve(session, directory=directory, host=host, port=port, read_only=read_only, on_ready=ready)
