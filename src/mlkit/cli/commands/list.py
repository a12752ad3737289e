"""`mlkit list`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

import typer

from mlkit.api import listing
from mlkit.api.listing import Listed
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.options import parse_pattern
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
            help="Only this repository, or this tag of it; one with a host is looked up in its registry.",
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
    is_wanted = parse_pattern(pattern)
    with call.session() as session:
        if repository is not None and repository.host is not None:
            found = listing.list_remote(session, repository)
        else:
            found = listing.list_local(session, _name(repository) if repository else None)
    listed = _sorted((kit for kit in found if is_wanted(kit.reference)), order)
    call.show(listed, _table(listed))
    call.warn_all(f"{kit.reference}: cannot be read: {kit.problem}" for kit in listed if kit.problem is not None)


def _name(repository: Reference) -> str:
    return repository.name if repository.tag is None else repository.local_name


def _sorted(kits: Iterable[Listed], order: _Order) -> list[Listed]:
    by_name = sorted(kits, key=lambda kit: kit.reference)
    match order:
        case "reference":
            return by_name
        case "version":
            return sorted(by_name, key=lambda kit: _version_order(kit.version or ""))
        case "size":
            return sorted(by_name, key=lambda kit: -(kit.size or 0))
        case "created":
            return sorted(by_name, key=lambda kit: kit.created or "", reverse=True)


def _version_order(version: str) -> list[tuple[int, int, str]]:
    """1.9 before 1.10: runs of digits count as numbers, which come before words."""
    pieces = re.findall(r"[0-9]{1,100}|[^0-9]+", version, re.ASCII)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _table(kits: list[Listed]) -> str:
    rows = [
        (
            render.cell(kit.reference),
            render.cell(kit.version),
            _size(kit),
            render.short(kit.digest),
            render.moment(kit.created),
        )
        for kit in kits
    ]
    return render.table(("REFERENCE", "VERSION", "SIZE", "DIGEST", "CREATED"), rows)


def _size(kit: Listed) -> str:
    if kit.size is None:
        return "unreadable"
    return render.size(kit.size) + (" (partial)" if kit.is_partial else "")
