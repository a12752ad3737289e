"""`mlkit profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import write_text
from mlkit.cli.options import KeyOption, LabelOption, PolicyOption, ReferenceArgument, SelectOption, parse_choice
from mlkit.cli.serving import (
    AllowCodeOption,
    ArgumentOption,
    CommandOption,
    GpuOption,
    HealthOption,
    ModelOption,
    ReuseOption,
    RuntimeOption,
    TimeoutOption,
    parse_levels,
    profile_text,
    said_by,
)


@command(example="mlkit profile digits:1.2 --concurrency 1,4,16 --requests 200", network=True)
def profile(
    call: Call,
    reference: ReferenceArgument,
    levels: Annotated[
        str, typer.Option("--concurrency", metavar="N[,N…]", help="Requests at the same time, one level after another.")
    ] = "1,4,16",
    requests: Annotated[
        int, typer.Option("--requests", metavar="N", min=1, max=1_000_000, help="Requests at each level.")
    ] = 200,
    seconds: Annotated[
        int, typer.Option("--seconds", metavar="N", min=1, max=86400, help="At most so long at each level.")
    ] = 60,
    request: Annotated[
        Path | None, typer.Option("--request", metavar="FILE", help="JSON to send, if not zeros in the model's shapes.")
    ] = None,
    request_path: Annotated[
        str | None, typer.Option("--request-path", metavar="PATH", help="Where to, if not the runtime's own.")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw latency against load.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="The same as a page, with figures.")
    ] = None,
    key: KeyOption = None,
    runtime: RuntimeOption = None,
    command_line: CommandOption = None,
    model: ModelOption = None,
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
    """Serve a kit, ask it under load, and tell what that takes.

    Time to start, latency, memory, and the resources that follow from them. With a key the result is attached to the
    kit as a signed attestation, for whoever deploys it.
    """
    from mlkit.api import profile as profiling
    from mlkit.api.serve import ServeOptions
    from mlkit.api.signers import signer_for
    from mlkit.serving.picture import render_html, render_svg

    choice = parse_choice(labels, select)
    serving = ServeOptions(
        runtime=runtime,
        command=command_line,
        model=model,
        port=0,
        gpu=gpu,
        reuse=reuse,
        allow_code=allow_code,
        health=health,
        ready_seconds=timeout,
        arguments=tuple(arguments or ()),
    )
    asked = profiling.ProfileOptions(
        concurrency=parse_levels(levels),
        requests=requests,
        seconds=seconds,
        request_file=request,
        request_path=request_path,
    )
    with call.session(policy=policy) as session:
        profiled = profiling.profile(
            session,
            reference,
            serving,
            asked,
            environ=call.environ,
            choice=choice,
            signer=signer_for(session, key),
            on_line=said_by(call.talk) if call.general.verbosity else None,
            on_step=call.say,
        )
    for path, drawn in ((svg, render_svg), (html, render_html)):
        if path is not None:
            write_text(path, drawn(profiled.profile), replace=True)
    call.show(profiled, profile_text(profiled.profile))
    attached = f"attached as {render.short(profiled.attached)}" if profiled.attached else "not attached: no --key"
    call.say(f"profiled {profiled.profile.reference}: {attached}")
