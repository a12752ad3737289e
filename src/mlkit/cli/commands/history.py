"""`mlkit history`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlkit.api import release_views
from mlkit.api.release_views import ChannelHistory, HistoryEntry
from mlkit.cli import render
from mlkit.cli.context import Call
from mlkit.cli.declare import command
from mlkit.cli.releasing import RepositoryArgument
from mlkit.errors import IntegrityError, PolicyError
from mlkit.spec.release import MARKS


@command(example="mlkit history digits staging", network=True)
def history(
    call: Call,
    repository: RepositoryArgument,
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Only this channel, not all.", show_default=False)
    ] = None,
) -> None:
    """Show who moved channels, when, why and on what evidence.

    The newest record comes first. Exit 4 where a history is broken, and 8 where keys are trusted and none of them has
    signed its last record; what can be read is shown all the same.
    """
    with call.session() as session:
        found = release_views.history(session, repository, channel)
    call.show(found, "\n\n".join(map(_text, found)))
    for one in found:
        call.warn_all(f"{one.repository}: {one.channel}: {render.escape(note)}" for note in one.notes)
    _check(found)


def _check(found: tuple[ChannelHistory, ...]) -> None:
    broken = [f"{one.channel}: {problem}" for one in found for problem in one.problems]
    if broken:
        raise IntegrityError(
            f"{found[0].repository}: the history does not verify: {'; '.join(broken[:5])}",
            hint="whoever can push there can break it; what is signed and linked is shown, and can be relied on",
        )
    untrusted = [one.channel for one in found if one.is_trusted is False]
    if untrusted:
        raise PolicyError(
            f"{found[0].repository}: no trusted key has signed the last record of {', '.join(untrusted)}",
            hint="`mlkit promote --accept-untrusted` vouches for it, with a trusted key",
        )


def _text(one: ChannelHistory) -> str:
    name = "marks" if one.channel == MARKS else one.channel
    lines = [f"{one.repository}:{name}" if one.channel != MARKS else f"{one.repository} (marks)"]
    for entry in one.entries:
        lines += [f"  {line}" for line in _entry(entry)]
    return "\n".join(lines)


def _entry(entry: HistoryEntry) -> list[str]:
    release = entry.release
    verb = release.action if release.action != "mark" else f"mark {release.marks[0].verdict if release.marks else ''}"
    number = "lost" if entry.is_loser else f"#{release.sequence}"
    version = f" {render.cell(release.version, 30)}" if release.version else ""
    lines = [
        f"{number:<5} {render.moment(release.at)}  {verb}{version} {render.short(release.to)}",
        f"      by {render.cell(release.by, 60)}, {_signed(entry)}",
    ]
    if release.from_ is not None:
        lines.append(f"      from {render.short(release.from_)}")
    lines += [f"      {label}: {render.cell(text, 200)}" for label, text in _told(entry) if text]
    return lines


def _told(entry: HistoryEntry) -> list[tuple[str, str | None]]:
    release = entry.release
    evidence = ", ".join(
        f"{found.kind}{f' by {render.cell(found.signed_by[0], 20)}' if found.signed_by else ''}"
        for found in release.evidence
    )
    return [
        ("why", release.message),
        ("because", release.reason),
        ("required", ", ".join(release.required)),
        ("evidence", evidence),
        *(("note", note) for note in entry.notes),
    ]


def _signed(entry: HistoryEntry) -> str:
    if entry.signed_by:
        return f"signed by {render.cell(', '.join(entry.signed_by), 40)}"
    told = "signed by a key that is not known here" if entry.is_signed else "not signed"
    return f"{told}, and vouched for by a later record" if entry.is_trusted else told
