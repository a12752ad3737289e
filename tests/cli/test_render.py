from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from mlkit.cli import render
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import EntryRecord
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference

HOSTILE = "\x1b[31mred\x1b[0m\r\n\u202egnp.exe\u200b\x9b2J [red]x[/red] [link=http://evil]"


def test_nothing_that_a_terminal_acts_on_survives_in_a_cell() -> None:
    shown = render.cell(HOSTILE)

    assert shown.isprintable()
    assert "\\x1b[31mred" in shown
    assert "\\u202e" in shown


def test_b19_square_brackets_are_no_markup() -> None:
    assert render.cell("[red]x[/red]") == "[red]x[/red]"


def test_a_long_value_is_shortened_in_a_cell() -> None:
    shown = render.cell("v" * 1_000_000)

    assert len(shown) == 100
    assert shown.endswith("...")


@pytest.mark.parametrize(("columns", "room"), [("80", 60), ("120", 100), ("10", 20)])
def test_the_room_for_a_value_follows_the_terminal(columns: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    assert render.room_beside(8, 8) == room


def test_text_of_every_script_stays_as_it_is() -> None:
    assert render.escape("Größe 数据 données") == "Größe 数据 données"


def test_a_second_line_of_a_message_cannot_pass_for_one_of_ours() -> None:
    assert render.escape_lines("one\nhint: run this\x1b") == "one\n  hint: run this\\x1b"


def test_a_document_keeps_its_lines_and_loses_its_escapes() -> None:
    assert render.escape_document("a:\n\t- b\x1b\u202e\n") == "a:\n\t- b\\x1b\\u202e\n"


def test_a_class_is_called_so_in_json() -> None:
    entry = EntryRecord("model", Class.MODEL, None, "m", None, None)

    assert render.jsonable(entry)["class"] == "model"
    assert "cls" not in render.jsonable(entry)


def test_a_lone_surrogate_can_be_printed() -> None:
    assert render.escape("caf\udce9") == "caf\\udce9"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (2 * 1024**3, "2.1 GB"),
        (2**63 - 1, "9.2 EB"),
        (10**24, "1000000.0 EB"),
    ],
)
def test_sizes_read_in_powers_of_1000(count: int, text: str) -> None:
    assert render.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (7890, "2 h 11 min")],
)
def test_durations_read_in_two_units(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_nouns_are_counted(count: int, text: str) -> None:
    assert render.counted(count, "file") == text


def test_a_table_has_no_trailing_blanks_and_numbers_flush_right() -> None:
    text = render.table(
        ("NAME", "SIZE", "X"), [("a", "1 B", "x"), ("long name", "12 B", "")], right=frozenset({"SIZE"})
    )

    assert text == "NAME       SIZE  X\na           1 B  x\nlong name  12 B"


def test_an_empty_table_is_its_headings() -> None:
    assert render.table(("NAME", "SIZE"), []) == "NAME  SIZE"


def test_facts_stand_under_each_other() -> None:
    assert render.facts([("a", "1"), ("long", "2")]) == "a     1\nlong  2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("2026-01-02T03:04:05Z", "2026-01-02 03:04"), (None, "-"), ("\x1b]0;title\x07", "\\x1b]0;title\\x07")],
)
def test_moments_are_shown_to_the_minute(text: str | None, shown: str) -> None:
    assert render.moment(text) == shown


class _Kind(StrEnum):
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class _Value:
    digest: Digest
    reference: Reference
    path: Path
    kind: _Kind
    names: tuple[str, ...]
    annotations: Any
    files: int | None
    chosen: frozenset[str]


def test_values_become_json_with_whole_digests_and_plain_sizes() -> None:
    digest = Digest.of(b"x")
    value = _Value(
        digest,
        Reference.parse("a.example/b:c"),
        Path("d/e"),
        _Kind.RAW,
        ("f",),
        MappingProxyType({"g": 1.5}),
        None,
        frozenset({"i", "h"}),
    )

    assert json.loads(render.document(value)) == {
        "digest": str(digest),
        "reference": "a.example/b:c",
        "path": "d/e",
        "kind": "raw",
        "names": ["f"],
        "annotations": {"g": 1.5},
        "files": None,
        "chosen": ["h", "i"],
    }


def test_bytes_are_base64_as_in_descriptors() -> None:
    assert render.jsonable({"data": b"{}"}) == {"data": "e30="}


def test_json_is_ascii_so_that_it_cannot_act_on_a_terminal() -> None:
    text = render.document({"x": HOSTILE})

    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {"x": HOSTILE}


@pytest.mark.parametrize("value", [object(), bytearray()], ids=["object", "bytearray"])
def test_what_has_no_json_form_is_a_defect(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        render.jsonable(value)
