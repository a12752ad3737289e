"""`mlkit cat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlkit.api import looking
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import LabelOption, PolicyOption, ReferenceArgument, RemoteOption, SelectOption, parse_choice


@command(example="mlkit cat digits:1.2 README.md", network=True)
def cat(
    call: Call,
    reference: ReferenceArgument,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The file, as `mlkit files` lists it.", show_default=False)
    ],
    labels: LabelOption = None,
    select: SelectOption = None,
    policy: PolicyOption = None,
    remote: RemoteOption = False,
) -> None:
    """Write one file of a kit to stdout.

    Only the bytes of the file are fetched. --json changes nothing but how errors are told.
    """
    choice = parse_choice(labels, select)
    with call.session(policy=policy) as session:
        looking.cat(session, reference, path, sys.stdout.buffer, choice=choice, remote=remote)
