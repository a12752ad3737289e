"""`mlkit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import (
    FilterOption,
    LabelOption,
    PolicyOption,
    ReferenceArgument,
    RemoteOption,
    SelectOption,
    parse_choice,
)
from mlkit.cli.verifying import how_to_verify, verify_by_key, verify_by_policy, verify_directory, verify_in_file


@command(example="mlkit verify digits:1.2 --key my.pub", network=True)
def verify(
    call: Call,
    reference: ReferenceArgument,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="FILE", help="A public key, if not the setting trusted_keys. Repeatable: any."),
    ] = None,
    policy: PolicyOption = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="Compare what was unpacked here with the kit; exit 4 where it differs."
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="A signature in a file, as model-signing writes it."),
    ] = None,
    predicate_type: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="Statements of this type: a URI, or sign, slsaprovenance1, cyclonedx, ..."
        ),
    ] = None,
    filters: FilterOption = None,
    labels: LabelOption = None,
    select: SelectOption = None,
    remote: RemoteOption = False,
) -> None:
    """Check who stands for a kit; exit 8 unless one of your keys does.

    With --policy, exit 8 unless the kit meets the rule that is for it; a rule that only audits, or skips, verifies
    nothing. Prints what was matched. What is verified is one digest: use the kit by that.
    """
    choice = parse_choice(labels, select)
    way = how_to_verify(call, keys=keys, policy=policy, directory=directory, bundle=bundle, kind=predicate_type)
    if way == "directory" and directory is not None:
        verify_directory(call, reference, directory, choice=choice, filters=filters or (), remote=remote)
    elif way == "bundle" and bundle is not None:
        verify_in_file(call, reference, bundle, keys=keys or (), remote=remote)
    elif way == "policy":
        verify_by_policy(call, reference, policy, choice=choice, remote=remote)
    else:
        verify_by_key(call, reference, keys or (), predicate_type or "sign", remote=remote)
