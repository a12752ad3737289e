"""`mlkit image build`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import (
    FilterOption,
    LabelOption,
    PolicyOption,
    ReferenceArgument,
    RemoteOption,
    SelectOption,
    parse_annotations,
    parse_choice,
)
from mlkit.cli.summary import built_summary
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.serving.image_platform import Platform

_ALL = "all"


@command(example="mlkit image build digits:1.2 --base scratch -t oci:digits-image:1.2", network=True)
def build(
    call: Call,
    reference: ReferenceArgument,
    base: Annotated[
        str,
        typer.Option(
            "--base",
            metavar="DEST|scratch",
            help="The image to build on: host/repository:tag, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE, or "
            "scratch for none.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "-t",
            "--target",
            metavar="DEST",
            help="Where the image goes: host/repository:tag, oci:DIR:TAG, or docker-archive:FILE.",
            show_default=False,
        ),
    ],
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH",
            help="Of a base for several: linux/amd64 (where it has that), others, or all. Repeatable.",
        ),
    ] = None,
    labels: LabelOption = None,
    select: SelectOption = None,
    filters: FilterOption = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="Start it with the command of this runtime: vllm, triton, ...; none leaves the base's. Without it, as "
            "the kit's deployment says.",
            show_default=False,
        ),
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option("--entrypoint", metavar="WORDS", help="What runs, quoted as in a shell.")
    ] = None,
    command_words: Annotated[
        str | None, typer.Option("--cmd", metavar="WORDS", help="Its arguments, quoted as in a shell.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable. Repeatable.")
    ] = None,
    image_labels: Annotated[
        list[str] | None, typer.Option("--image-label", metavar="KEY=VALUE", help="A label of the image. Repeatable.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="UID[:GID]", help="Who runs; the base's, or 65532 where that is root."),
    ] = None,
    workdir: Annotated[str | None, typer.Option("--workdir", metavar="DIR", help="Where it runs.")] = None,
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="FILE", help="Sign the image with this private key.")
    ] = None,
    with_provenance: Annotated[
        bool,
        typer.Option(
            "--provenance",
            help="Sign, and say what the image was made of, with the key of --sign or the setting signing_key.",
        ),
    ] = False,
    policy: PolicyOption = None,
    remote: RemoteOption = False,
) -> None:
    """Put a kit on a base image and print the digest.

    No daemon, no root, and no layer unpacked. The model is in /models, as KServe's model cars have it; the files of the
    kit, without datasets unless --filter takes them, are in /kit. The same kit on the same base gives the same image.
    """
    # Imported here: help needs nothing of it.
    from mlkit.api import images
    from mlkit.serving.image_config import Launch, parse_env
    from mlkit.serving.image_places import parse_base, parse_target

    options = images.ImageOptions(
        platforms=_platforms(platforms),
        filters=filters or (),
        runtime=runtime,
        launch=Launch(
            entrypoint=_words(entrypoint, "--entrypoint"),
            command=_words(command_words, "--cmd"),
            env=parse_env(env or ()),
            user=user,
            workdir=workdir,
        ),
        labels=parse_annotations(image_labels),
        key=sign,
        is_signed=sign is not None,
        has_provenance=with_provenance,
    )
    base_place, target_place = parse_base(base), parse_target(target)
    choice = parse_choice(labels, select)
    with call.session(policy=policy) as session:
        built = images.build_image(session, reference, base_place, target_place, options, choice=choice, remote=remote)
    call.show(built, str(built.digest))
    call.say_all(map(render.escape, built.notes))
    call.say(built_summary(built))


def _platforms(texts: list[str] | None) -> list[Platform] | str | None:
    from mlkit.serving.image_platform import Platform

    words = [word for text in texts or () for word in text.split(",")]
    if _ALL in words:
        if len(words) > 1:
            raise UsageError("--platform all stands alone")
        return _ALL
    return [Platform.parse(word) for word in words] or None


def _words(text: str | None, flag: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{flag} {text!a}: a quote is open") from error
