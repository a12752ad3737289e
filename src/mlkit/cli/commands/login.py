"""`mlkit login`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import access
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.secrets import ask_credential


@command(example="echo pw | mlkit login localhost:5000 -u alice --password-stdin --plain-http", network=True)
def login(
    call: Call,
    host: Annotated[str, typer.Argument(metavar="HOST", help="host[:port] of the registry.", show_default=False)],
    username: Annotated[str | None, typer.Option("-u", "--username", help="Asked for on a terminal.")] = None,
    password: Annotated[
        str | None, typer.Option("-p", "--password", help="Seen by every user of this machine: better use the next.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
) -> None:
    """Check and save the credentials of a registry.

    They go where Docker keeps its own, into its helper where one is configured.
    """
    if password is not None:
        call.talk.warn("a password on the command line is seen by every user of this machine: use --password-stdin")
    credential = ask_credential(username, password, from_stdin=password_stdin)
    with call.session() as session:
        done = access.login(session, host, credential)
    call.show(done, done.host)
    call.say(f"logged in to {done.host}")
