"""`mlkit logout`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import access
from mlkit.cli.context import Call
from mlkit.cli.declare import command


@command(example="mlkit logout localhost:5000", network=True)
def logout(
    call: Call,
    host: Annotated[str, typer.Argument(metavar="HOST", help="host[:port] of the registry.", show_default=False)],
) -> None:
    """Forget the credentials of a registry."""
    with call.session() as session:
        done = access.logout(session, host)
    call.show(done, done.host)
    call.say(f"logged out of {done.host}")
