from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from mlkit.cli.progress import BarProgress, LineProgress, Talk, listening

MEGABYTE = 1_000_000


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return _Terminal()


def _lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_short_work_says_nothing_in_a_log() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)

    progress.start("k", "weights", 10)
    clock.now += 4.9
    progress.advance("k", 10)
    progress.finish("k", "done")

    assert stream.getvalue() == ""


def test_long_work_says_a_line_at_most_every_five_seconds() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "weights", 100 * MEGABYTE)
    progress.start("l", "data", 100 * MEGABYTE)

    for _ in range(80):
        clock.now += 0.125
        progress.advance("k", 1_250_000)

    assert _lines(stream) == [
        "weights: 50.0 MB of 100.0 MB (50%); in all 50.0 MB of 200.0 MB (25%), 10.0 MB/s, 15 s left",
        "weights: 100.0 MB of 100.0 MB (100%); in all 100.0 MB of 200.0 MB (50%), 10.0 MB/s, 10 s left",
    ]


def test_work_of_unknown_size_shows_what_is_done() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "weights", None)
    clock.now += 5

    progress.advance("k", 10 * MEGABYTE)

    assert _lines(stream) == ["weights: 10.0 MB; in all 10.0 MB, 2.0 MB/s"]


def test_a_transfer_that_starts_over_takes_its_bytes_back() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "weights", 10 * MEGABYTE)
    progress.advance("k", 8 * MEGABYTE)
    progress.advance("k", -8 * MEGABYTE)
    clock.now += 5

    progress.advance("k", MEGABYTE)

    assert "1.0 MB of 10.0 MB (10%)" in stream.getvalue()


def test_what_was_there_already_does_not_count_as_work() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "old", 90 * MEGABYTE)
    progress.start("l", "new", 10 * MEGABYTE)
    progress.finish("k", "present")
    clock.now += 5

    progress.advance("l", 5 * MEGABYTE)

    assert "in all 5.0 MB of 10.0 MB (50%)" in stream.getvalue()


def test_what_an_earlier_run_had_brought_is_done_and_no_speed() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "weights", 100 * MEGABYTE)
    progress.resume("k", 60 * MEGABYTE)
    clock.now += 5

    progress.advance("k", 10 * MEGABYTE)
    progress.resume("k", 0)
    clock.now += 5
    progress.advance("k", 20 * MEGABYTE)

    assert _lines(stream) == [
        "weights: 70.0 MB of 100.0 MB (70%); in all 10.0 MB of 40.0 MB (25%), 2.0 MB/s, 15 s left",
        "weights: 20.0 MB of 100.0 MB (20%); in all 20.0 MB of 100.0 MB (20%), 2.0 MB/s, 40 s left",
    ]


def test_a_bar_begins_where_an_earlier_run_stopped(terminal: _Terminal) -> None:
    with listening("auto", Talk(terminal), is_verbose=False) as progress:
        assert isinstance(progress, BarProgress)
        progress.start("k", "weights", 100 * MEGABYTE)
        progress.resume("k", 60 * MEGABYTE)
        progress.advance("k", 10 * MEGABYTE)
        task = progress._bars.tasks[-1]

        assert (task.completed, task.total) == (70 * MEGABYTE, 100 * MEGABYTE)
        assert sum(sample.completed for sample in task._progress) == 10 * MEGABYTE


def test_events_of_items_that_nobody_started_are_let_pass() -> None:
    stream = io.StringIO()
    progress = LineProgress(Talk(stream), is_verbose=True)

    progress.advance("k", 1)
    progress.resume("k", 1)
    progress.finish("k", "done")

    assert stream.getvalue() == ""


def test_verbose_tells_how_each_item_ended() -> None:
    stream = io.StringIO()
    progress = LineProgress(Talk(stream), is_verbose=True)

    progress.start("k", "weights", 1000)
    progress.finish("k", "present")
    progress.start("l", "data", None)
    progress.finish("l", "failed")

    assert _lines(stream) == ["weights: already there, 1.0 kB", "data: failed"]


def test_calls_from_several_threads_add_up() -> None:
    stream, clock = io.StringIO(), _Clock()
    progress = LineProgress(Talk(stream), clock=clock)
    progress.start("k", "weights", 8000)

    def advance() -> None:
        for _ in range(1000):
            progress.advance("k", 1)

    threads = [threading.Thread(target=advance) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 5
    progress.advance("k", 1000)

    assert "8.0 kB of 8.0 kB (100%)" in stream.getvalue()


def test_a_hostile_label_is_escaped() -> None:
    stream = io.StringIO()
    progress = LineProgress(Talk(stream), is_verbose=True)

    progress.start("k", "\x1b[2J[red]x", 1)
    progress.finish("k", "done")

    assert stream.getvalue() == "\\x1b[2J[red]x: done, 1 B\n"


@pytest.mark.parametrize("mode", ["auto", "plain", "none"])
def test_quiet_leaves_only_warnings(mode: str) -> None:
    stream = io.StringIO()
    with listening(mode, Talk(stream, is_quiet=True), is_verbose=True) as progress:
        progress.start("k", "weights", 1)
        progress.advance("k", 1)
        progress.finish("k", "done")
        progress.warn("a secret is left out")

    assert stream.getvalue() == "warning: a secret is left out\n"


@pytest.mark.parametrize(
    ("mode", "talk", "kind"),
    [
        ("auto", Talk(io.StringIO()), "LineProgress"),
        ("auto", Talk(io.StringIO(), as_json=True), "_Silent"),
        ("plain", Talk(io.StringIO(), as_json=True), "LineProgress"),
        ("none", Talk(io.StringIO()), "_Silent"),
        ("plain", Talk(_Terminal()), "LineProgress"),
    ],
    ids=["log", "log with json", "plain on purpose", "none", "plain on a terminal"],
)
def test_the_listener_fits_the_stream(mode: str, talk: Talk, kind: str) -> None:
    with listening(mode, talk, is_verbose=False) as progress:
        assert type(progress).__name__ == kind


def test_a_terminal_gets_bars_that_are_gone_at_the_end(terminal: _Terminal) -> None:
    with listening("auto", Talk(terminal), is_verbose=True) as progress:
        assert isinstance(progress, BarProgress)
        progress.start("k", "[red]weights[/red]", 2 * MEGABYTE)
        progress.start("l", "data", None)
        progress.advance("k", MEGABYTE)
        progress.finish("k", "done")
        progress.finish("l", "present")
        progress.warn("look [b]here[/b]")

    assert "[red]weights[/red]: done, 2.0 MB" in terminal.getvalue()
    assert "warning: look [b]here[/b]" in terminal.getvalue()


def test_a_dumb_terminal_gets_lines(terminal: _Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    with listening("auto", Talk(terminal), is_verbose=False) as progress:
        assert isinstance(progress, LineProgress)


def test_no_color_gives_bars_without_colour(terminal: _Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    with listening("auto", Talk(terminal), is_verbose=True) as progress:
        progress.start("k", "weights", 10)
        progress.advance("k", 5)
        progress.finish("k", "done")

    assert "\x1b[3" not in terminal.getvalue()


def _objects(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in _lines(stream)]


def test_with_json_a_warning_is_an_object_and_a_summary_is_not_said() -> None:
    stream = io.StringIO()
    talk = Talk(stream, as_json=True)

    talk.warn("one\ntwo")
    talk.say("done")

    assert _objects(stream) == [{"warning": {"message": "one\ntwo"}}]
