"""`mlkit mark`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mlkit.api import releases
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import KeyOption, ReferenceArgument
from mlkit.cli.releasing import AcceptUntrustedOption, MessageOption


@command(example="mlkit mark digits:1.1 bad --message 'fails on empty input'", network=True)
def mark(
    call: Call,
    reference: ReferenceArgument,
    verdict: Annotated[
        Literal["good", "bad"], typer.Argument(metavar="good|bad", help="The last mark counts.", show_default=False)
    ],
    message: MessageOption = None,
    signing_key: KeyOption = None,
    accept_untrusted: AcceptUntrustedOption = False,
) -> None:
    """Write down that a kit is good or bad, and print its digest.

    No rollback goes to a kit that was marked bad. The mark holds for all channels of the repository.
    """
    with call.session() as session:
        marked = releases.mark(
            session, reference, verdict, message=message, key=signing_key, accept_untrusted=accept_untrusted
        )
    call.show(marked, str(marked.digest))
    signed = "signed" if marked.is_signed else "not signed: no key was given"
    call.say(f"marked {marked.verdict} in {marked.repository} (mark {marked.sequence}, {signed})")
