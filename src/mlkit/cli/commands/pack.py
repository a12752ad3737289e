"""`mlkit pack`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlkit.api import packing
from mlkit.api.named_signer import named_signer
from mlkit.api.packing import KITFILE_LIMIT, Packed, Prepared
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import read_stdin
from mlkit.cli.options import DryRunOption, SignOption, TagsOption, parse_annotations, parse_names
from mlkit.cli.plan import plan_document, plan_table
from mlkit.packing.plan import PackOptions


@command(example="mlkit pack . -t digits:1.2", network=True)
def pack(
    call: Call,
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="The directory to pack.")] = Path(),
    tags: TagsOption = None,
    kitfile: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE|-", help="The Kitfile, if not DIR/Kitfile; - is stdin.")
    ] = None,
    form: Annotated[
        Literal["modelpack", "kitops"], typer.Option("--format", help="CNCF ModelPack, or KitOps' ModelKit.")
    ] = "modelpack",
    layers: Annotated[
        Literal["auto", "tar", "raw"],
        typer.Option("--layers", help="One file a layer (raw), archives (tar), or by size."),
    ] = "auto",
    compression: Annotated[
        Literal["none", "gzip", "zstd"], typer.Option("--compression", help="Of layers; weights hardly shrink.")
    ] = "none",
    annotations: Annotated[
        list[str] | None, typer.Option("--annotation", metavar="KEY=VALUE", help="On the manifest. Repeatable.")
    ] = None,
    follow_links: Annotated[
        Path | None, typer.Option("--follow-links", metavar="ROOT", help="Follow links that stay below this directory.")
    ] = None,
    captures: Annotated[
        bool, typer.Option("--capture/--no-capture", help="Record what Git, DVC, MLflow and others say of the files.")
    ] = True,
    push: Annotated[bool, typer.Option("--push", help="Straight to the registry; keep no copy of the data.")] = False,
    sign: SignOption = None,
    no_scan: Annotated[bool, typer.Option("--no-scan", help="Do not warn of pickles that run code.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Pack a directory into a kit and print its digest.

    Without a Kitfile one is made from what lies there. Without -t the kit is kept under its digest alone.
    """
    is_stdin = kitfile == Path("-")
    options = PackOptions(
        format=form,
        layers=layers,
        compression=compression,
        annotations=parse_annotations(annotations),
        follow_links=follow_links,
    )
    with call.session() as session:
        prepared = packing.plan(
            session,
            directory,
            kitfile=None if is_stdin else kitfile,
            kitfile_text=read_stdin("the Kitfile", limit=KITFILE_LIMIT) if is_stdin else None,
            options=options,
            captures=captures,
        )
        signer = named_signer(session, sign)
        packed = None
        if not dry_run:
            scan = False if no_scan else None
            packed = packing.pack(session, prepared, parse_names(tags), push=push, signer=signer, scan=scan)
    call.warn_all(_warnings(prepared, packed.notes if packed else prepared.notes))
    if packed is None:
        call.show(plan_document(prepared), plan_table(prepared))
    else:
        call.show(packed, str(packed.digest))
        call.say(_summary(packed))


def _warnings(prepared: Prepared, notes: Sequence[str]) -> list[str]:
    made = ["no Kitfile here: packed with one made from what was found; `mlkit init` writes it down"]
    left_out = [f"{path}: looks like a secret and is left out" for path in prepared.plan.ignored_secrets]
    return [*(made if prepared.generated else ()), *notes, *left_out]


def _summary(packed: Packed) -> str:
    names = ", ".join(packed.references) or "without a name"
    verb = "packed and pushed" if packed.pushed else "packed"
    content = f"{render.counted(packed.files, 'file')} in {render.counted(packed.layers, 'layer')}"
    read = f"read {render.size(packed.read_bytes)}, known before {render.size(packed.reused_bytes)}"
    vouched = ("; signed" if packed.signature else "") + ("; provenance attached" if packed.provenance else "")
    return f"{verb} {names}: {content}, {render.size(packed.size)}; {read}{vouched}"
