"""`mlkit save`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import saving
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import stdout_for_bytes
from mlkit.cli.options import NoReferrersOption, OverwriteOption, RemoteOption, parse_names
from mlkit.cli.summary import saved_summary

_STDOUT = Path("-")


@command(example="mlkit save digits:1.2 -o digits.tar", network=True)
def save(
    call: Call,
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="REF...",
            help="Kits; repository:tag1,tag2 gives two.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write; - is stdout.", show_default=False)
    ],
    no_referrers: NoReferrersOption = False,
    remote: RemoteOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write kits into one file for a place without a network.

    The file is an OCI image layout in a tar, which skopeo and oras read, too; the same kits give the same bytes.
    Signatures and other referrers are in it. Prints the digest of each kit, unless stdout is where the file goes.
    """
    wanted = parse_names(references)
    with call.session() as session:
        if output == _STDOUT:
            saved = saving.write_bundle(session, wanted, stdout_for_bytes(), referrers=not no_referrers, remote=remote)
        else:
            saved = saving.save(session, wanted, output, referrers=not no_referrers, remote=remote, overwrite=overwrite)
    if output != _STDOUT:
        call.show(saved, "\n".join(str(kit.digest) for kit in saved.kits))
    call.say(saved_summary(output, saved))
