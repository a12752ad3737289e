"""`mlkit keygen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlkit.api import keygen as making
from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="MLKIT_KEY_PASSWORD=secret mlkit keygen -o team")
def keygen(
    call: Call,
    stem: Annotated[Path, typer.Option("-o", "--output", metavar="PATH", help="Writes PATH.key and PATH.pub.")] = Path(
        "mlkit"
    ),
    kind: Annotated[
        Literal["ecdsa-p256", "ed25519"],
        typer.Option("--type", help="What signatures are made with; cosign and older tools know the first best."),
    ] = "ecdsa-p256",
    form: Annotated[
        Literal["pkcs8", "cosign"], typer.Option("--format", help="Of the private key: PKCS#8, or that of cosign.")
    ] = "pkcs8",
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Write this private key, of either format, not a new one."),
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Leave the private key in the clear, for tests.")
    ] = False,
) -> None:
    """Make a pair of keys to sign with.

    The password of the private key is asked for, or comes from MLKIT_KEY_PASSWORD or a file, MLKIT_KEY_PASSWORD_FILE.
    """
    with call.session() as session:
        made = making.keygen(session, stem, kind=kind, form=form, source=source, no_password=no_password)
    call.show(made, f"{made.private_key}\n{made.public_key}")
    call.say(f"made a key, {made.type}: keep {made.private_key.name} secret, and give {made.public_key.name} away")
