"""`mlkit serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import LabelOption, PolicyOption, ReferenceArgument, SelectOption, parse_choice
from mlkit.cli.serving import (
    AllowCodeOption,
    ArgumentOption,
    CommandOption,
    GpuOption,
    HealthOption,
    ModelOption,
    NameOption,
    ReuseOption,
    RuntimeOption,
    TimeoutOption,
    said_by,
)


@command(example="mlkit serve digits:1.2 --port 8080", network=True)
def serve(
    call: Call,
    reference: ReferenceArgument,
    runtime: RuntimeOption = None,
    command_line: CommandOption = None,
    model: ModelOption = None,
    name: NameOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; beyond loopback anybody can ask.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.", show_default=False),
    ] = None,
    labels: LabelOption = None,
    select: SelectOption = None,
    reuse: ReuseOption = False,
    gpu: GpuOption = None,
    allow_code: AllowCodeOption = False,
    health: HealthOption = None,
    arguments: ArgumentOption = None,
    timeout: TimeoutOption = 600,
    policy: PolicyOption = None,
) -> None:
    """Serve a kit with a runtime that is installed here.

    The kit is verified and unpacked, or streamed from its registry, without its datasets. When the server answers, how
    to ask it is printed in two lines; Ctrl-C ends the server with everything that it started.
    """
    from mlkit.api.serve import Served, ServeOptions
    from mlkit.api.serve import serve as serve_kit

    choice = parse_choice(labels, select)
    options = ServeOptions(
        runtime=runtime,
        command=command_line,
        model=model,
        name=name,
        host=host,
        port=port,
        gpu=gpu,
        reuse=reuse,
        allow_code=allow_code,
        health=health,
        ready_seconds=timeout,
        arguments=tuple(arguments or ()),
    )

    def ready(served: Served) -> None:
        call.say(f"serving {served.reference} at {served.url}; {served.why}")
        call.say(f"ready after {served.ready_seconds:.1f} s; Ctrl-C ends it")
        call.show(served, "\n".join(map(render.escape, served.call)), flush=True)

    with call.session(policy=policy) as session:
        serve_kit(
            session,
            reference,
            options,
            environ=call.environ,
            choice=choice,
            on_ready=ready,
            on_line=said_by(call.talk),
        )
