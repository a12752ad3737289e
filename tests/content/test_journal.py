"""The journal of a layout: what can be read of a damaged one, and what cannot be written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mlkit.content.index import LayoutIndex
from mlkit.content.journal import Change, Journal
from mlkit.errors import StoreError

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def change(number: int, *, name: str | None = "digits:1") -> Change:
    """The change from one index to the next one."""
    return Change("2023-11-14T22:13:20.000Z", {"pid": 1}, name, OLD, NEW, None, str(number), str(number + 1))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_what_was_added_is_read_in_order_and_by_change(journal: Journal) -> None:
    first, second = [change(1)], [change(2, name="a:1"), change(2, name="b:1")]
    for changes in (first, second):
        journal.append(changes)

    assert list(journal.all()) == [*first, *second]
    assert journal.latest() == second[-1]
    assert journal.last() == tuple(second)
    assert journal.recent() == [tuple(first), tuple(second)]


def test_where_there_is_no_journal_there_is_no_change(journal: Journal) -> None:
    assert (journal.latest(), journal.last(), journal.recent(), list(journal.all())) == (None, (), [], [])


@pytest.mark.parametrize("size", [10, 70_000, 600_000], ids=str)
def test_lines_that_are_none_of_ours_are_passed_over_however_long_they_are(journal: Journal, size: int) -> None:
    journal.append([change(1)])
    with journal.path.open("ab") as file:
        file.write(b"x" * size + b"\n" + b'{"name": 7}\n{"time": 7, "old": ["x"]}\n[1]\n{"entry": {"size": -1}}\n')

    assert journal.latest() == change(1)
    assert journal.last() == (change(1),)
    assert journal.recent() == [(change(1),)]
    assert list(journal.all()) == [change(1)]


def test_behind_megabytes_of_something_else_no_change_is_looked_for(journal: Journal) -> None:
    journal.append([change(1)])
    with journal.path.open("ab") as file:
        for _ in range(70):
            file.write(b"x" * 65_535 + b"\n")

    assert (journal.latest(), journal.last()) == (None, ())
    assert list(journal.all()) == [change(1)]


def test_a_change_is_taken_back_with_what_lies_behind_it_and_no_other(journal: Journal) -> None:
    journal.append([change(1)])
    journal.append([change(2, name="a:1"), change(2, name="b:1")])
    with journal.path.open("ab") as file:
        file.write(b"half a li")

    journal.cut_last()

    assert list(journal.all()) == [change(1)]


def test_what_changes_nothing_changes_nothing_when_it_is_made_once_more() -> None:
    note = Change("", None, None, None, None, None, "1", "1")

    assert note.applied(LayoutIndex.empty()) == LayoutIndex.empty()


def test_a_time_that_is_none_is_left_out(journal: Journal) -> None:
    journal.path.write_text(json.dumps({"time": 7, "name": "digits:1", "new": NEW}) + "\n")

    assert journal.latest() == Change("", None, "digits:1", None, NEW, None)


@pytest.mark.parametrize("read", [Journal.latest, Journal.last, lambda journal: list(journal.all())])
def test_what_is_no_file_is_an_error(journal: Journal, read: Any) -> None:
    journal.path.mkdir()

    with pytest.raises(StoreError, match="journal"):
        read(journal)


def test_a_disk_that_fills_leaves_the_journal_as_it_was(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([change(1)])
    before = journal.path.read_bytes()
    write = os.write

    def half(file: int, content: Any) -> int:
        if len(content) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:100])

    monkeypatch.setattr(os, "write", half)

    with pytest.raises(StoreError, match="no space left"):
        journal.append([change(2)])

    assert journal.path.read_bytes() == before
