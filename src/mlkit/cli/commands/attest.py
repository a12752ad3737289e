"""`mlkit attest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import signing
from mlkit.api.signers import require_signer
from mlkit.api.signing import PREDICATE_LIMIT
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import read_bytes
from mlkit.cli.options import KeyOption, ReferenceArgument, RemoteOption
from mlkit.cli.summary import signed_summary


@command(
    example="mlkit attest digits:1.2 --type cyclonedx --predicate bom.json --key my.key",
    network=True,
)
def attest(
    call: Call,
    reference: ReferenceArgument,
    predicate_type: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="What is said: a URI, or slsaprovenance1, cyclonedx, model-signing.",
            show_default=False,
        ),
    ],
    predicate: Annotated[
        Path | None,
        typer.Option(
            "--predicate",
            metavar="FILE|-",
            help="How: a JSON object; - is stdin. Not needed for cyclonedx and model-signing.",
            show_default=False,
        ),
    ] = None,
    key: KeyOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the bundle here, too.", show_default=False),
    ] = None,
    remote: RemoteOption = False,
) -> None:
    """Attach a signed statement about a kit, and print its digest.

    The bill of materials (cyclonedx) and the list of all files with their digests (model-signing) are made from the kit
    where no predicate is given.
    """
    raw = None if predicate is None else read_bytes(predicate, "the predicate", limit=PREDICATE_LIMIT)
    with call.session() as session:
        signer = require_signer(session, key)
        signed = signing.attest(session, reference, predicate_type, raw, signer=signer, output=output, remote=remote)
    call.show(signed, str(signed.attached))
    call.say(signed_summary("attested", signed))
