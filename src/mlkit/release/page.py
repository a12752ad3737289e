"""A page about what runs where: one HTML file that loads nothing, runs nothing, and is readable on a phone.

Names, messages and versions come from outside: all of it is escaped, and the page's own policy allows no script.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from mlkit.release.state import ChannelState, Difference, RepositoryState
from mlkit.spec.digest import Digest
from mlkit.spec.release import Release

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d9dee7; --back: #f4f6f9; --card: #fff;
  --good: #0b6e3f; --good-back: #e0f3e8; --bad: #a4242b; --bad-back: #fbe4e5; --plain: #eceff4; --mark: #7a4b00;
  --mark-back: #fdf0d5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --soft: #9aa5b8; --line: #333c4b; --back: #12161d;
  --card: #1b212b; --good: #7fd6a6; --good-back: #173626; --bad: #ff9aa0; --bad-back: #43191d; --plain: #29313e;
  --mark: #f2c879; --mark-back: #3a2d12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 0 0 .8rem; overflow-wrap: anywhere; }
h3 { font-size: .8rem; letter-spacing: .05em; text-transform: uppercase; color: var(--soft); margin: 1.4rem 0 .4rem; }
p.when { color: var(--soft); margin: .2rem 0 1.6rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.2rem;
  margin-bottom: 1.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; font-size: .8rem; color: var(--soft); }
th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
code { font: .85em ui-monospace, monospace; color: var(--soft); }
.version { font-weight: 650; }
.since { white-space: nowrap; }
.badge { display: inline-block; border-radius: 99px; padding: .05rem .6rem; margin: 0 .25rem .2rem 0;
  font-size: .78rem; background: var(--plain); white-space: nowrap; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.differs { color: var(--mark); background: var(--mark-back); border-radius: 4px; padding: 0 .4rem; }
.soft { color: var(--soft); }
ol { list-style: none; margin: 0; padding: 0; }
li { padding: .3rem 0 .3rem 1rem; border-left: 2px solid var(--line); }
li.rollback { border-color: var(--bad); }
""".strip()


def render_page(states: Sequence[RepositoryState], *, now: datetime) -> str:
    """The page; the same states at the same moment give the same text."""
    channels = sum(len(state.channels) for state in states)
    drifting = sum(channel.drift is not None for state in states for channel in state.channels)
    told = f"{_count(len(states), 'repository', 'repositories')}, {_count(channels, 'channel', 'channels')}"
    if drifting:
        told += f", {drifting} not where its history says"
    body = "\n".join(_repository(state, now) for state in states)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What runs where</title>
<style>
{_STYLE}
</style>
</head>
<body>
<main>
<h1>What runs where</h1>
<p class="when">{_text(told)}, as of {now.astimezone(UTC).strftime("%Y-%m-%d %H:%M")} UTC</p>
{body}
</main>
</body>
</html>
"""


def _repository(state: RepositoryState, now: datetime) -> str:
    head = f"<section>\n<h2>{_text(state.repository)}</h2>"
    if state.problem is not None:
        return f'{head}\n<p><span class="badge bad">unknown</span> {_text(state.problem)}</p>\n</section>'
    rows = "\n".join(_channel(channel, now) for channel in state.channels)
    parts = [
        head,
        '<div class="wide"><table>',
        "<tr><th>Channel</th><th>Version</th><th>Since</th><th>By</th><th>Evidence</th></tr>",
        rows,
        "</table></div>",
    ]
    if state.differences:
        parts += ["<h3>Differs between channels</h3>", _differences(state.differences)]
    moves = [release for channel in state.channels for release in channel.recent]
    if moves:
        parts += ["<h3>Last moves</h3>", _moves(moves)]
    return "\n".join([*parts, "</section>"])


def _channel(state: ChannelState, now: datetime) -> str:
    release = state.release
    version = _text(release.version) if release and release.version else "-"
    since = f"{_moment(release.at)}<br><span class=soft>{_age(release, now)}</span>" if release else "-"
    why = f"<br><span class=soft>{_text(release.message)}</span>" if release and release.message else ""
    return (
        f"<tr><td><b>{_text(state.channel)}</b></td>"
        f'<td><span class="version">{version}</span><br>{_digest(state.digest)}</td>'
        f'<td class="since">{since}</td><td>'
        f"{_text(release.by) if release else '-'}{why}</td>"
        f"<td>{''.join(_badges(state))}</td></tr>"
    )


def _badges(state: ChannelState) -> Iterable[str]:
    if state.problem is not None:
        yield _badge(state.problem, "bad")
    if state.drift is not None:
        yield _badge(f"not where its history says: {state.drift}", "bad")
    if state.mark is not None:
        yield _badge(f"marked {state.mark}", state.mark)
    release = state.release
    if release is None:
        return
    yield from _check(state)
    found = {one.kind: one for one in release.evidence}
    for kind, one in found.items():
        # What was so on that day is no praise for today.
        yield _badge(f"promoted with {kind}" + (f" by {one.signed_by[0]}" if one.signed_by else ""), "")
    if state.signed_by:
        yield _badge(f"record signed by {', '.join(state.signed_by)}", "good")
    else:
        yield _badge("record signed, by a key unknown here" if state.is_signed else "record not signed", "")


def _check(state: ChannelState) -> Iterable[str]:
    """What its checks say today."""
    if state.check_problem is not None:
        yield _badge(f"whether its last check passed cannot be had: {state.check_problem}", "bad")
    elif state.check is not None:
        at = f" {state.check.at[:16].replace('T', ' ')}" if state.check.at else ""
        by = f" by {state.check.signed_by[0]}" if state.check.signed_by else ""
        # Nobody knows who said it where no key is trusted: that is no reason for green.
        kind = "bad" if not state.check.passed else "good" if by else ""
        yield _badge(f"last check {'passed' if state.check.passed else 'failed'}{at}{by}", kind)
    elif state.had_checks:
        yield _badge("no result of its checks counts today", "bad")


def _badge(text: str, kind: str) -> str:
    return f'<span class="badge{f" {kind}" if kind else ""}">{_text(text)}</span>'


def _differences(differences: Sequence[Difference]) -> str:
    channels = [channel for channel, _ in differences[0].versions]
    head = "".join(f"<th>{_text(channel)}</th>" for channel in channels)
    rows = []
    for one in differences:
        name = f" {_text(one.entry.name)}" if one.entry.name else ""
        cells = "".join(
            f'<td><span class="differs">{_text(version) if version else "-"}</span></td>' for _, version in one.versions
        )
        rows.append(f"<tr><td>{_text(one.entry.id)}{name}</td>{cells}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<tr><th>Part</th>{head}</tr>\n{body}\n</table></div>'


def _moves(moves: Iterable[Release]) -> str:
    ordered = sorted(moves, key=lambda release: (release.moment, release.sequence), reverse=True)
    return "<ol>\n" + "\n".join(map(_move, ordered)) + "\n</ol>"


def _move(release: Release) -> str:
    verb = "rolled back to" if release.action == "rollback" else "promoted to"
    why = release.reason or release.message
    told = f"<br><span class=soft>{_text(why)}</span>" if why else ""
    version = _text(release.version) if release.version else release.to.short
    return (
        f'<li class="{release.action}">{_moment(release.at)} <b>{_text(release.channel)}</b> {verb} '
        f'<span class="version">{version}</span> <span class=soft>by {_text(release.by)}</span>{told}</li>'
    )


def _digest(digest: Digest | None) -> str:
    return "<code>no tag</code>" if digest is None else f'<code title="{digest}">{digest.short}</code>'


def _age(release: Release, now: datetime) -> str:
    seconds = (now - release.moment).total_seconds()
    if seconds < 0:
        return "by a clock ahead of this one"
    for size, noun in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{_count(int(seconds // size), noun, f'{noun}s')} ago"
    return "just now"


def _moment(text: str) -> str:
    return _text(text[:16].replace("T", " "))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _text(text: str) -> str:
    """Text from anywhere: escaped for HTML, with what no eye can see shown as escapes."""
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text[:500])
    return html.escape(shown)
