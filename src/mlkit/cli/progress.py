"""Long work, shown: bars on a terminal, a line now and then in a log, or nothing.

All three listen to the same calls, which come from several threads. rich is imported only for the bars.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from mlkit.cli.log import JsonLog
from mlkit.cli.render import cell, duration, escape_lines, size
from mlkit.progress import Outcome, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_INTERVAL = 5.0
"""Seconds between two lines in a log."""
_LABEL_WIDTH = 32
_OUTCOMES: dict[Outcome, str] = {"done": "done", "present": "already there", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class Talk:
    """Words for people on stderr. With JSON every line there is one object, and nobody is told how it went."""

    stream: TextIO
    as_json: bool = False
    is_quiet: bool = False
    log: JsonLog | None = None
    """Where all of it goes in place of lines for people."""

    @property
    def is_terminal(self) -> bool:
        """Whether bars can be drawn."""
        return self.log is None and self.stream.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """A summary."""
        if not self.is_quiet and (self.log is not None or not self.as_json):
            self.note(text)

    def warn(self, text: str) -> None:
        """What a person should read even when quiet was asked for."""
        if self.log is not None:
            self.log.write("warning", text)
        elif self.as_json:
            self._write(json.dumps({"warning": {"message": text}}))
        else:
            self.note(f"warning: {text}")

    def note(self, text: str) -> None:
        """What is said in any case, such as how far long work is."""
        if self.log is not None:
            self.log.write("info", text)
        else:
            self._write(escape_lines(text))

    def detail(self, text: str) -> None:
        """What was asked for on purpose: the requests of -vv."""
        if self.log is not None:
            self.log.write("debug", text)
        else:
            self._write(escape_lines(text))

    def _write(self, text: str) -> None:
        # One call for a line: lines of several threads stay whole.
        self.stream.write(f"{text}\n")
        self.stream.flush()


@contextmanager
def listening(mode: str, talk: Talk, *, is_verbose: bool) -> Iterator[Progress]:
    """The listener that the mode and the terminal call for; bars are gone when the context ends."""
    if (
        talk.is_quiet
        or mode == "none"
        or (mode == "auto" and talk.as_json and not talk.is_terminal and talk.log is None)
    ):
        yield _Silent(talk)
    elif mode == "auto" and talk.is_terminal:
        with _bars(talk, is_verbose=is_verbose) as progress:
            yield progress
    else:
        yield LineProgress(talk, is_verbose=is_verbose)


@dataclass(frozen=True, slots=True)
class _Silent:
    """Only warnings."""

    talk: Talk

    def start(self, key: str, label: str, total: int | None) -> None:
        pass

    def advance(self, key: str, count: int) -> None:
        pass

    def resume(self, key: str, count: int) -> None:
        pass

    def finish(self, key: str, outcome: Outcome) -> None:
        pass

    def warn(self, message: str) -> None:
        self.talk.warn(message)


@dataclass(slots=True)
class _Item:
    label: str
    total: int | None
    done: int = 0
    resumed: int = 0
    """Bytes of `done` that an earlier run brought."""
    task: TaskID | None = None


@dataclass(slots=True)
class _Tally:
    """What all items come to. Not locked: whoever holds it does that."""

    items: dict[str, _Item] = field(default_factory=dict)
    finished: int = 0
    moved: int = 0
    """Bytes, of finished items too; those that were there already, of whole items or parts, do not count."""
    total: int = 0

    def start(self, key: str, label: str, total: int | None) -> _Item:
        item = self.items[key] = _Item(cell(label), total)
        self.total += total or 0
        return item

    def advance(self, key: str, count: int) -> _Item | None:
        item = self.items.get(key)
        if item is not None:
            item.done += count
            self.moved += count
        return item

    def resume(self, key: str, count: int) -> _Item | None:
        item = self.items.get(key)
        if item is not None:
            self.moved -= item.done - item.resumed
            self.total -= count - item.resumed
            item.done = item.resumed = count
        return item

    def finish(self, key: str, outcome: Outcome) -> _Item | None:
        item = self.items.pop(key, None)
        if item is not None:
            self.finished += 1
            if outcome == "present":
                self.total -= (item.total or 0) - item.resumed
                self.moved -= item.done - item.resumed
        return item


class LineProgress:
    """A line of plain text at most every five seconds; work that is done before the first says nothing."""

    def __init__(self, talk: Talk, *, is_verbose: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._talk = talk
        self._is_verbose = is_verbose
        self._clock = clock
        self._lock = threading.Lock()
        self._tally = _Tally()
        self._began = self._told = clock()

    def start(self, key: str, label: str, total: int | None) -> None:
        with self._lock:
            self._tally.start(key, label, total)

    def advance(self, key: str, count: int) -> None:
        with self._lock:
            item = self._tally.advance(key, count)
            now = self._clock()
            if item is not None and now - self._told >= LINE_INTERVAL:
                self._told = now
                self._talk.note(self._line(item, now - self._began))

    def resume(self, key: str, count: int) -> None:
        with self._lock:
            self._tally.resume(key, count)

    def finish(self, key: str, outcome: Outcome) -> None:
        with self._lock:
            item = self._tally.finish(key, outcome)
            if item is not None and self._is_verbose:
                self._talk.note(finished_line(item.label, item.total, outcome))

    def warn(self, message: str) -> None:
        self._talk.warn(message)

    def _line(self, item: _Item, elapsed: float) -> str:
        tally = self._tally
        rate = tally.moved / elapsed if elapsed > 0 else 0.0
        left = (
            f", {duration((tally.total - tally.moved) / rate)} left" if rate > 0 and tally.total > tally.moved else ""
        )
        in_all = f"in all {_share(tally.moved, tally.total)}, {size(int(rate))}/s{left}"
        return f"{item.label}: {_share(item.done, item.total)}; {in_all}"


def finished_line(label: str, total: int | None, outcome: Outcome) -> str:
    """What -v says of an item that has ended."""
    return f"{label}: {_OUTCOMES[outcome]}" + (f", {size(total)}" if total is not None else "")


def _share(done: int, total: int | None) -> str:
    if not total:
        return size(max(0, done))
    return f"{size(max(0, done))} of {size(total)} ({min(100, 100 * done // total)}%)"


class BarProgress:
    """A bar for each item on its way and one for all of them, drawn by rich."""

    def __init__(self, talk: Talk, bars: Bars, *, is_verbose: bool) -> None:
        self._talk = talk
        self._bars = bars
        self._is_verbose = is_verbose
        self._lock = threading.Lock()
        self._tally = _Tally()
        self._all = bars.add_task("all", total=None, visible=False)

    def start(self, key: str, label: str, total: int | None) -> None:
        with self._lock:
            item = self._tally.start(key, label, total)
            item.task = self._bars.add_task(_fitted(item.label), total=total)
            self._redraw()

    def advance(self, key: str, count: int) -> None:
        with self._lock:
            item = self._tally.advance(key, count)
            if item is not None and item.task is not None:
                self._bars.update(item.task, completed=item.done)
                self._redraw()

    def resume(self, key: str, count: int) -> None:
        with self._lock:
            item = self._tally.resume(key, count)
            if item is not None and item.task is not None:
                # Reset, or the speed would be that of bytes which never moved.
                self._bars.reset(item.task, total=item.total, completed=count)
                self._redraw()

    def finish(self, key: str, outcome: Outcome) -> None:
        with self._lock:
            item = self._tally.finish(key, outcome)
            if item is not None and item.task is not None:
                self._bars.remove_task(item.task)
                self._redraw()
                if self._is_verbose:
                    self._print(finished_line(item.label, item.total, outcome))

    def warn(self, message: str) -> None:
        self._print(f"warning: {escape_lines(message)}")

    def _redraw(self) -> None:
        tally = self._tally
        several = len(tally.items) + tally.finished > 1
        self._bars.update(self._all, completed=tally.moved, total=tally.total or None, visible=several)

    def _print(self, line: str) -> None:
        # Above the bars, as plain text: a label is not markup.
        self._bars.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def _bars(talk: Talk, *, is_verbose: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=Console(file=talk.stream), transient=True, expand=True) as bars:
        yield BarProgress(talk, bars, is_verbose=is_verbose)


def _fitted(label: str) -> str:
    return label if len(label) <= _LABEL_WIDTH else "..." + label[3 - _LABEL_WIDTH :]
