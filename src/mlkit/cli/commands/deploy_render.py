"""`mlkit deploy render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import read_bytes
from mlkit.cli.options import LabelOption, PolicyOption, ReferenceArgument, SelectOption, parse_choice
from mlkit.cli.serving import ModelOption
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.reference import Reference


@command(
    example="mlkit deploy render localhost:5000/digits:1.2 --to kserve --source csi",
    network=True,
)
def render(
    call: Call,
    reference: ReferenceArgument,
    to: Annotated[
        Literal["kubernetes", "kserve", "knative", "compose", "systemd"],
        typer.Option("--to", help="What runs it.", show_default=False),
    ],
    source: Annotated[
        Literal["init", "image-volume", "csi", "image"],
        typer.Option("--source", help="How the model gets there: unpacked, mounted, or in the server's image."),
    ] = "init",
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="NAME", help="vllm, triton, …; else what the kit asks for.")
    ] = None,
    model: ModelOption = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the objects.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NAME", help="Of the objects.")] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Of the server.")] = None,
    init_image: Annotated[
        str | None, typer.Option("--init-image", metavar="IMAGE", help="Of mlkit, for --source init.")
    ] = None,
    model_image: Annotated[
        str | None, typer.Option("--model-image", metavar="IMAGE", help="With the kit, for --source image-volume.")
    ] = None,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="Servers.")] = 1,
    max_replicas: Annotated[
        int | None, typer.Option("--max-replicas", min=1, help="Where they are scaled.", show_default=False)
    ] = None,
    min_scale: Annotated[int, typer.Option("--min-scale", min=0, help="Of Knative; 0 lets it sleep.")] = 0,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Of the server.", show_default=False)
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, max=64, help="Per server.", show_default=False)] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="QUANTITY", help="Such as 4 or 500m.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="QUANTITY", help="Such as 16Gi.")] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="What `mlkit profile --json` measured.", show_default=False),
    ] = None,
    pull_secret: Annotated[
        str | None, typer.Option("--pull-secret", metavar="NAME", help="Credentials of the registries.")
    ] = None,
    policy: PolicyOption = None,
    policy_config_map: Annotated[
        str | None, typer.Option("--policy-config-map", metavar="NAME", help="Holds mlkit-policy.yaml for unpacking.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--arg", metavar="TEXT", help="Add this to the server's command. Repeatable.")
    ] = None,
    challenger: Annotated[
        Reference | None,
        typer.Option(
            "--challenger",
            parser=Reference.parse,
            metavar="REF",
            help="Gets a copy of KServe's traffic.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[int, typer.Option("--mirror", metavar="PERCENT", min=1, max=100, help="Of the traffic.")] = 100,
    labels: LabelOption = None,
    select: SelectOption = None,
) -> None:
    """Print what a cluster needs to run a kit, pinned by digest.

    The kit must be in a registry. Nothing is applied and no model moves: `kubectl apply -f -` takes what is printed.
    """
    from mlkit.api.deploying import DeployOptions
    from mlkit.api.deploying import render as render_kit
    from mlkit.serving.profile import parse_profile

    measured = None
    if profile is not None:
        raw = read_bytes(profile, "the profile", limit=MANIFEST_LIMIT)
        measured = parse_profile(parse_object(raw, what=str(profile)), what=str(profile))
    options = DeployOptions(
        profile=measured,
        source=source,
        runtime=runtime,
        model=model,
        name=name,
        namespace=namespace,
        image=image,
        init_image=init_image,
        model_image=model_image,
        replicas=replicas,
        max_replicas=max_replicas,
        min_scale=min_scale,
        port=port,
        gpus=gpus,
        cpu=cpu,
        memory=memory,
        pull_secret=pull_secret,
        policy_config_map=policy_config_map,
        arguments=tuple(arguments or ()),
        challenger=challenger,
        mirror_percent=mirror,
    )
    with call.session(policy=policy) as session:
        rendered = render_kit(session, reference, to, options, choice=parse_choice(labels, select))
    call.show(rendered, rendered.text.rstrip("\n"))
    call.say(f"{rendered.kit} for {to}; {rendered.why}")
    call.say_all(rendered.notes)
