"""`mlkit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import verifying
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.evidence import evidence_table, verification_document
from mlkit.cli.options import ReferenceArgument, RemoteOption


@command(example="mlkit verify digits:1.2 --key my.pub", network=True)
def verify(
    call: Call,
    reference: ReferenceArgument,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="FILE", help="A public key, if not the setting trusted_keys. Repeatable: any."),
    ] = None,
    predicate_type: Annotated[
        str,
        typer.Option(
            "--type", metavar="TYPE", help="Statements of this type: a URI, or sign, slsaprovenance1, cyclonedx, ..."
        ),
    ] = "sign",
    remote: RemoteOption = False,
) -> None:
    """Check who stands for a kit; exit 8 unless one of your keys does.

    Prints what was matched. What is verified is one digest: use the kit by that.
    """
    with call.session() as session:
        found = verifying.verify(session, reference, keys=keys or (), predicate_type=predicate_type, remote=remote)
    call.show(verification_document(found), evidence_table(found.matched))
    found.require()
    call.say(f"verified {found.reference}: {found.digest}")
