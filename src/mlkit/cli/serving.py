"""Flags that `serve` and `profile` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from mlkit.cli.progress import Talk

RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime", metavar="NAME", help="vllm, llama.cpp, onnx, …; else what the kit asks for, or suits it."
    ),
]
CommandOption = Annotated[
    str | None,
    typer.Option(
        "--command", metavar="LINE", help="Run this in place of a runtime; {root} {model} {name} {host} {port}."
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="PATH", help="Of several models in the kit, this one.")
]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the model is called by callers.")]
ReuseOption = Annotated[
    bool, typer.Option("--reuse", help="Link files from the local store, read-only, in place of copies.")
]
GpuOption = Annotated[
    bool | None, typer.Option("--gpu/--no-gpu", help="Need a GPU; hide them all.", show_default=False)
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Serve models that run code when they are loaded, too.")
]
HealthOption = Annotated[
    str | None, typer.Option("--health", metavar="PATH", help="Answers 200 once the server is ready.")
]
ArgumentOption = Annotated[
    list[str] | None, typer.Option("--arg", metavar="TEXT", help="Add this to the runtime's command. Repeatable.")
]
TimeoutOption = Annotated[
    int, typer.Option("--timeout", metavar="SECONDS", min=1, max=86400, help="Until it must be ready.")
]


def said_by(talk: Talk) -> Callable[[str], None] | None:
    """Who listens to the server's own output: whoever reads this run's talk."""
    if talk.is_quiet or talk.as_json:
        return None
    return lambda line: talk.say(f"| {line}")
