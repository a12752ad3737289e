"""What another program's rewriting of index.json lost, and what it meant. Pure: nothing here does I/O.

Such programs know of no lock: they read the index, work for as long as a copy takes, and write all of it. What mlkit
changed meanwhile is gone then, without anybody having wanted that. Whoever read the index after a change knew of it,
and took away on purpose what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from mlkit.content.index import Entry, LayoutIndex
from mlkit.content.journal import ANOTHER_PROGRAM, Change

WINDOW = timedelta(days=1)
"""How long before a foreign rewrite mlkit's change may lie to have been lost by it: as long as a copy may take."""


def without_loss(
    found: LayoutIndex, known: LayoutIndex, recent: Sequence[Sequence[Change]], *, written: float
) -> tuple[LayoutIndex, tuple[str, ...]]:
    """`found` with what it lost, and the names, or digests, of that.

    `known` is what mlkit wrote last, `recent` its changes up to then, `written` when the other program wrote, in
    seconds since the epoch. Both having changed one name, the other program's word holds, which came later.
    """
    merged, lost = found, []
    for key, expected in _unseen(found, recent, written).items():
        mine = _entry(known, key)
        if _digest(_entry(found, key)) != expected or (mine is None and expected is None):
            continue
        name, digest = key
        if name is not None:
            merged = merged.untagged(name)
        else:
            merged = LayoutIndex(merged.fields, tuple(one.text for one in merged.entries if not _is(one, key)))
        if mine is not None:
            merged = LayoutIndex(merged.fields, (*merged.lines, mine.text))
        lost.append(name or digest)
    return merged, tuple(lost)


_Key = tuple[str | None, str]
"""A name, or none and a digest."""


def _unseen(found: LayoutIndex, recent: Sequence[Sequence[Change]], written: float) -> dict[_Key, str | None]:
    """What was changed after the other program had read the index, with the digest that it must have read."""
    oldest = (datetime.fromtimestamp(written, UTC) - WINDOW).isoformat()
    unseen: dict[_Key, str | None] = {}
    for changes in reversed(recent):
        if any(change.time < oldest for change in changes):
            break
        # What other programs had written when mlkit looked, they knew of before mlkit had done its part of the change.
        ours = [change for change in changes if change.who != ANOTHER_PROGRAM]
        if any(_is_seen(found, change, unseen) for change in ours):
            break
        for change in ours:
            unseen[_key(change)] = change.old
    return unseen


def _is_seen(found: LayoutIndex, change: Change, later: Iterable[_Key]) -> bool:
    """Whether the index shows that its writer knew of a change."""
    key = _key(change)
    return (key not in later or change.new != change.old) and _digest(_entry(found, key)) == change.new


def _key(change: Change) -> _Key:
    return (change.name, "" if change.name is not None else change.new or change.old or "")


def _entry(index: LayoutIndex, key: _Key) -> Entry | None:
    return next((entry for entry in index.entries if _is(entry, key)), None)


def _is(entry: Entry, key: _Key) -> bool:
    name, digest = key
    if name is not None:
        return entry.name == name
    return entry.name is None and _digest(entry) == digest


def _digest(entry: Entry | None) -> str | None:
    return None if entry is None else str(entry.value["digest"])
