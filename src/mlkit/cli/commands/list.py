"""`mlkit list`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import typer

from mlkit.api import listing
from mlkit.api.listing import Listed
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.spec.reference import Reference

_Order = Literal["reference", "version", "size", "created"]


@command(example="mlkit list", network=True)
def list_kits(
    call: Call,
    repository: Annotated[
        Reference | None,
        typer.Argument(
            parser=Reference.parse,
            metavar="[REPO]",
            help="Only this repository; one with a host is looked up in its registry.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--filter", metavar="GLOB", help="Only references that match, such as '*/digits:1.*'.")
    ] = None,
    order: Annotated[
        _Order, typer.Option("--sort", help="Largest and newest first, names and versions upward.")
    ] = "reference",
) -> None:
    """List local kits, or the tags of a remote repository."""
    with call.session() as session:
        if repository is not None and repository.host is not None:
            found = listing.list_remote(session, repository)
        else:
            found = listing.list_local(session, repository.name if repository else None)
    listed = _sorted((kit for kit in found if pattern is None or fnmatchcase(kit.reference, pattern)), order)
    call.show(listed, _table(listed))


def _sorted(kits: Iterable[Listed], order: _Order) -> list[Listed]:
    by_name = sorted(kits, key=lambda kit: kit.reference)
    match order:
        case "reference":
            return by_name
        case "version":
            return sorted(by_name, key=lambda kit: kit.version or "")
        case "size":
            return sorted(by_name, key=lambda kit: -kit.size)
        case "created":
            return sorted(by_name, key=lambda kit: kit.created or "", reverse=True)


def _table(kits: list[Listed]) -> str:
    rows = [
        (
            render.cell(kit.reference),
            render.cell(kit.version),
            render.size(kit.size) + (" (partial)" if kit.is_partial else ""),
            render.short(kit.digest),
            render.moment(kit.created),
        )
        for kit in kits
    ]
    return render.table(("REFERENCE", "VERSION", "SIZE", "DIGEST", "CREATED"), rows)
