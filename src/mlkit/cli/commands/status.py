"""`mlkit status`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlkit.api import release_views
from mlkit.cli import render
from mlkit.cli.completion import complete_reference
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.files import write_text
from mlkit.release.state import ChannelState, Difference, RepositoryState
from mlkit.spec.reference import Reference
from mlkit.spec.release import Release

_ENTRIES = 12  # versions of each channel that are shown
_RECENT = 12  # records of each channel on a page


@command(example="mlkit status digits", network=True)
def status(
    call: Call,
    repositories: Annotated[
        list[Reference],
        typer.Argument(
            parser=Reference.parse,
            metavar="REPO...",
            help="Repositories, as many as you like; without a host in the local store.",
            show_default=False,
            autocompletion=complete_reference,
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs no other file, too.")
    ] = None,
) -> None:
    """Show what is in which channel, since when and by whom.

    With the versions that differ between channels, and channels that are not where their history says.
    """
    with call.session() as session:
        found = release_views.status(session, repositories, recent=_RECENT if html is not None else 0)
    if html is not None:
        write_page(html, found)
    call.show(found, "\n\n".join(map(_text, found)))
    for one in found:
        call.warn_all(
            f"{one.repository}:{state.channel}: {render.escape(state.problem)}"
            for state in one.channels
            if state.problem
        )
    if any(one.problem for one in found):
        raise typer.Exit(1)


def write_page(file: Path, found: tuple[RepositoryState, ...]) -> None:
    """Write the page, in place of an earlier one. Raises: StoreError."""
    from mlkit.release.page import render_page

    write_text(file, render_page(found, now=datetime.now(UTC)), replace=True)


def _text(one: RepositoryState) -> str:
    if one.problem is not None:
        return f"{one.repository}\n  {render.escape(one.problem)}"
    rows = [
        (
            render.cell(state.channel, 20),
            render.cell(state.release.version if state.release else None, 12),
            state.digest.short if state.digest else "-",
            render.moment(state.release.at if state.release else None),
            render.cell(state.release.by if state.release else None, 18),
        )
        for state in one.channels
    ]
    table = render.table(("CHANNEL", "VERSION", "DIGEST", "SINCE", "BY"), rows)
    lines = [one.repository, *(f"  {line}" for line in table.splitlines())]
    lines += render.wrapped(
        f"  {render.cell(state.channel, 20)}: {line}"
        for state in one.channels
        for line in (_entries(state.release), _remarks(state))
        if line
    )
    lines += render.wrapped(f"  differ: {_difference(difference)}" for difference in one.differences)
    return "\n".join(lines)


def _entries(release: Release | None) -> str:
    """The versions of what is in the kit, as its record has them: `model 6, datasets[0] train 2`."""
    told = [
        " ".join(render.cell(text, 30) for text in (entry.id, entry.name, entry.version) if text)
        for entry in (release.entries if release else ())
        if entry.version
    ]
    more = [f"and {len(told) - _ENTRIES} more (--json shows them)"] if len(told) > _ENTRIES else []
    return ", ".join([*told[:_ENTRIES], *more])


def _remarks(state: ChannelState) -> str:
    evidence = ", ".join(dict.fromkeys(found.kind for found in state.release.evidence)) if state.release else ""
    signed = (
        f"record signed by {', '.join(state.signed_by)}" if state.signed_by else "record signed by a key unknown here"
    )
    told = [
        (evidence, f"promoted with {evidence}"),
        (True, _check(state)),
        (state.is_signed, render.escape(signed)),
        (state.mark, f"marked {state.mark}"),
        (state.drift, f"DRIFT: {state.drift}"),
    ]
    return "; ".join(text for is_so, text in told if is_so and text)


def _check(state: ChannelState) -> str:
    """What its checks say today, whatever they said when it was promoted."""
    if state.check_problem is not None:
        return f"whether its last check passed cannot be had: {render.cell(state.check_problem, 200)}"
    if state.check is not None:
        by = ", ".join(state.check.signed_by)
        told = "passed" if state.check.passed else "FAILED"
        return f"last check {told} {render.moment(state.check.at)}" + (f" (by {render.escape(by)})" if by else "")
    return "no result of its checks counts today" if state.had_checks else ""


def _difference(difference: Difference) -> str:
    entry = difference.entry
    name = f" {render.cell(entry.name, 30)}" if entry.name else ""
    versions = ", ".join(f"{render.cell(version, 20)} in {channel}" for channel, version in difference.versions)
    return f"{entry.id}{name}: {versions}"
