"""`mlkit lineage export`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import read_bytes
from mlkit.cli.options import RefreshOption, SubjectArgument
from mlkit.cli.render import counted

_TOKEN_LIMIT = 64 * 1024  # bytes; JSON web tokens have a few thousand


@command(example="mlkit lineage export digits:1.2 --format mermaid", network=True)
def export(
    call: Call,
    what: SubjectArgument,
    form: Annotated[
        Literal["openlineage", "cyclonedx", "dot", "mermaid"],
        typer.Option("--format", help="Events, a bill of materials, or a picture for Graphviz or Markdown."),
    ] = "openlineage",
    depth: Annotated[int, typer.Option("--depth", metavar="N", min=1, max=40, help="Levels in each direction.")] = 10,
    send: Annotated[
        str | None, typer.Option("--send", metavar="URL", help="Post each event there, as Marquez takes them.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE|-", help="Holds the token of that place.", show_default=False),
    ] = None,
    refresh: RefreshOption = False,
) -> None:
    """Tell other tools what a kit came from and what came of it.

    OpenLineage events are one JSON object on each line, the earliest kit first.
    """
    from mlkit.api.lineage_exchange import export as export_lineage

    token = None
    if token_file is not None:
        token = read_bytes(token_file, "the token", limit=_TOKEN_LIMIT).decode("ascii", "replace").strip()
    with call.session() as session:
        exported = export_lineage(
            session,
            what,
            form,
            depth=depth,
            now=datetime.now(UTC),
            send=send,
            token=token,
            refresh=refresh,
        )
    call.show(exported, exported.text)
    if exported.sent is not None:
        call.say(f"{counted(exported.sent, 'event')} sent to {send}")
    if exported.is_cut:
        call.warn_all(["there is more than is shown: --depth goes further"])
