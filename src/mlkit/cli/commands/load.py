"""`mlkit load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import loading
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import stdin_for_bytes
from mlkit.cli.options import TagsOption, parse_names
from mlkit.cli.summary import loaded_summary

_STDIN = Path("-")


@command(example="mlkit save digits:1.2 -o digits.tar && mlkit load digits.tar")
def load(
    call: Call,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `mlkit save` wrote; - is stdin.", show_default=False)
    ],
    tags: TagsOption = None,
) -> None:
    """Take the kits of such a file into the local store.

    Every byte is verified; names are given last, and only when all is there. Prints the name of each kit, or its digest
    where it has none. Archives of skopeo (oci-archive:) and OCI layouts in a tar from others are read, too.
    """
    names = parse_names(tags)
    with call.session() as session:
        if file == _STDIN:
            loaded = loading.read_bundle(session, stdin_for_bytes(), what="stdin", names=names)
        else:
            loaded = loading.load(session, file, names=names)
    call.show(loaded, "\n".join(kit.reference or str(kit.digest) for kit in loaded.kits))
    call.say(loaded_summary(loaded))
