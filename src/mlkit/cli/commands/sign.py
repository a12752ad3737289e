"""`mlkit sign`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import signing
from mlkit.api.signers import require_signer
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import KeyOption, ReferenceArgument, RemoteOption
from mlkit.cli.summary import signed_summary


@command(example="mlkit sign digits:1.2 --key my.key", network=True)
def sign(
    call: Call,
    reference: ReferenceArgument,
    key: KeyOption = None,
    legacy: Annotated[
        bool, typer.Option("--legacy-sig", help="Sign as cosign did before bundles too, under the tag sha256-HEX.sig.")
    ] = False,
    remote: RemoteOption = False,
) -> None:
    """Sign a kit, and print the digest of the signature.

    The signature refers to the kit and is kept beside it: in the local store, or in the registry.
    """
    with call.session() as session:
        signed = signing.sign(session, reference, signer=require_signer(session, key), legacy=legacy, remote=remote)
    call.show(signed, str(signed.attached))
    call.say(signed_summary("signed", signed))
