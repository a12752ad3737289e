"""Kitfiles that are hostile or ambiguous as YAML, and what is written."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support.json_values import JSON_VALUES

from mlkit.errors import LimitError, MlkitError, UsageError
from mlkit.spec.kitfile import kitfile_json, parse_kitfile, render_kitfile
from mlkit.spec.yaml_text import DEPTH_LIMIT, NODE_LIMIT, TEXT_LIMIT, dump_documents, dump_yaml, plain, read_yaml


def problems(text: str | bytes) -> str:
    """What the author of a Kitfile reads."""
    with pytest.raises(UsageError) as caught:
        parse_kitfile(text.encode() if isinstance(text, str) else text)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("package: &a\n  name: x\n", 1, id="an anchor"),
        pytest.param("package:\n  name: &a x\n", 2, id="an anchor on text"),
        pytest.param("package:\n  name: x\n  version: *a\n", 3, id="an alias of nothing"),
        pytest.param("model: &m\n  parameters: [*m]\n", 2, id="an alias of itself"),
        pytest.param("model:\n  parameters:\n    <<: {a: 1}\n", 3, id="a merge key"),
        pytest.param("package:\n  <<: *p\n", 2, id="a merge of an alias"),
        pytest.param("package:\n  *a : x\n", 2, id="an alias as a key"),
        pytest.param("&a package:\n  name: x\n", 1, id="an anchor on a key"),
        pytest.param(
            "model:\n  parameters:\n    a: &a [x, x]\n    b: &b [*a, *a]\n    c: &c [*b, *b]\n    d: [*c, *c]\n",
            3,
            id="a billion laughs",
        ),
    ],
)
def test_d01_anchors_aliases_and_merge_keys_are_refused(text: str, line: int) -> None:
    message = problems(text)

    assert "not allowed" in message
    assert f"line {line}: " in message


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("!!python/object/apply:os.system [id]", id="python object"),
        pytest.param("!!python/name:os.system", id="python name"),
        pytest.param("!<tag:yaml.org,2002:python/object:os> {}", id="verbatim"),
        pytest.param("!!binary aGk=", id="binary"),
        pytest.param("!!set {a, b}", id="set"),
        pytest.param("!!timestamp 2024-01-01", id="timestamp"),
        pytest.param("!!str 010", id="text"),
        pytest.param("!local x", id="local"),
        pytest.param("! x", id="non-specific"),
    ],
)
def test_d02_explicit_tags_are_refused(value: str) -> None:
    message = problems(f"package:\n  name: x\nmodel:\n  parameters: {value}\n")

    assert "line 4: tags (" in message
    assert "not allowed" in message


@pytest.mark.parametrize(
    ("raw", "line", "reason"),
    [
        pytest.param(b"package:\n  name: x\n  name: y\n", 3, "'name' is already on line 2", id="a key twice"),
        pytest.param(b"package: {name: x,\n 'name': x}\n", 2, "'name' is already on line 1", id="a key twice, quoted"),
        pytest.param(b"model: {}\npackage: {}\nmodel: {}\n", 3, "'model' is already on line 1", id="a section twice"),
        pytest.param(b"package:\n  1: x\n", 2, "the key 1 is not text", id="a number as a key"),
        pytest.param(b"package:\n  true: x\n", 2, "the key true is not text", id="a truth value as a key"),
        pytest.param(b"package:\n  ~: x\n", 2, "the key null is not text", id="null as a key"),
        pytest.param(b"package:\n  : x\n", 2, "expected", id="nothing as a key"),
        pytest.param(b"package:\n  [a]: x\n", 2, "is not text", id="a list as a key"),
        pytest.param(b"package:\n  ? {a: b}\n  : x\n", 2, "is not text", id="a mapping as a key"),
        pytest.param(b"package: {}\n---\nmodel: {}\n", 2, "second document", id="a second document"),
        pytest.param(b"package: {}\n...\n---\nmodel: {}\n", 3, "second document", id="one after an end"),
        pytest.param(b"%YAML 3.0\n---\npackage: {}\n", 1, "directives", id="another YAML"),
        pytest.param(b"# kit\n%YAML 1.2\n---\npackage: {}\n", 2, "directives", id="this YAML"),
        pytest.param(b"%TAG ! tag:x,2000:\n---\npackage: {}\n", 1, "directives", id="a tag handle"),
        pytest.param(b"%KIT 1\n---\npackage: {}\n", 1, "directives", id="an unknown directive"),
        pytest.param(b"package:\n\tname: x\n", 2, "a tab", id="a tab for indentation"),
        pytest.param(b"package:\n  name: x\n \tversion: y\n", 3, "a tab", id="a tab after a space"),
        pytest.param(b"package:\n  name:\tx\n", 2, "a tab", id="a tab after a key"),
        pytest.param(b"\xef\xbb\xbfpackage: {}\n", 1, "byte order mark", id="byte order mark"),
        pytest.param("package: {}\n".encode("utf-16"), 1, "UTF-16", id="UTF-16"),
        pytest.param("package: {}\n".encode("utf-16-be"), 1, "UTF-16", id="UTF-16 without a mark"),
        pytest.param("package: {}\n".encode("utf-32"), 1, "UTF-32", id="UTF-32"),
        pytest.param(b"package: {}\n# \xff\n", 2, "not UTF-8", id="not UTF-8"),
        pytest.param(b"package:\n  name: a\0b\n", 2, "U+0000", id="NUL"),
        pytest.param(b"package:\n  name: \x1b[31m\n", 2, "U+001B", id="an escape character"),
        pytest.param("package:\n  # x\u2028  name: y\n".encode(), 2, "U+2028", id="a line separator"),
        pytest.param("package:\n  # x\x85  name: y\n".encode(), 2, "U+0085", id="a next-line character"),
        pytest.param(b'package:\n  name: "\\ud800"\n', 2, "surrogate", id="half a surrogate pair"),
        pytest.param(b"package:\n  name: 'x\n", 3, "begins on line 2", id="a quote without its pair"),
        pytest.param(b"package: [1, 2\nmodel: {}\n", 2, "begins on line 1", id="a bracket without its pair"),
        pytest.param(b"package:\n  name: a: b\n", 2, "mapping values", id="a colon in plain text"),
        pytest.param(b"package:\n  name: x\n version: y\n", 3, "", id="indentation that fits nothing"),
        pytest.param(b"package:\n  name: @x\n", 2, "", id="a reserved character"),
    ],
)
def test_d03_ambiguous_yaml_is_refused_with_its_line(raw: bytes, line: int, reason: str) -> None:
    message = problems(raw)

    assert f"line {line}: " in message
    assert reason in message
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[" * 100_000, id="100,000 lists"),
        pytest.param(b"{a: " * 60_000, id="60,000 mappings"),
        pytest.param(b"- " * 100_000, id="100,000 list items"),
        pytest.param(b"? " * 100_000, id="100,000 complex keys"),
        pytest.param(b"a: " + b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT, id="one level too many"),
        pytest.param(b"package: {}\n" + b"#" * 10_000_000, id="10 MB"),
        pytest.param(b"package: {}\n" + b"#" * (TEXT_LIMIT - 11), id="one byte too many"),
        pytest.param(b"a: [" + b"x," * NODE_LIMIT + b"]", id="too many values"),
        pytest.param(b"a: [" + b"*x," * NODE_LIMIT + b"]", id="too many aliases"),
    ],
)
def test_d04_depth_size_and_count_are_bounded(raw: bytes) -> None:
    with pytest.raises(LimitError, match="Kitfile: "):
        parse_kitfile(raw)


@pytest.mark.parametrize(
    "number",
    ["9" * 5000, "-" + "9" * 4300, str(2**63), str(-(2**63) - 1), "1e400", "-1.5e999", ".inf", "-.INF", ".NaN"],
)
def test_a_number_that_other_programs_cannot_read_is_refused_where_a_number_is_meant(number: str) -> None:
    assert "is not a number that other programs can read" in problems(f"model:\n  parameters:\n    a: {number}\n")


@pytest.mark.parametrize(
    "text",
    [
        *("no", "NO", "yes", "on", "off", "y", "n"),
        *("010", "0o10", "0x1F", "0b1", "1_000", "1:30", "190:20:30", "0777", "00", "-01", "+1", "08"),
        *("2024-01-01", "2024-01-01T00:00:00Z", "2001-12-14 21:59:43.10 -5:00"),
        *("6", "1.10", "1.0", "1.2.0", "-0", "0.0", "12e5", "1e400", "1.", ".5", "1.5e-3", "9" * 40),
        *("=", "inf", "nan", "true", "false", "True", "FALSE", "truE", "nUll", "v1", "1.0.0-rc1", "ünï", "!", "#x"[1:]),
    ],
)
@pytest.mark.parametrize("field", ["name", "version"])
def test_d05_text_is_taken_as_it_is_written(field: str, text: str) -> None:
    plain = text if text != "!" else "'!'"

    kitfile = parse_kitfile(f"package:\n  {field}: {plain}\n".encode())

    assert getattr(kitfile.package, field) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ("6", 6),
        ("-7", -7),
        (str(2**63 - 1), 2**63 - 1),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ('"6"', "6"),
        ("'true'", "true"),
        ('"~"', "~"),
        ("|-\n      6", "6"),
    ],
)
def test_only_decimal_numbers_truth_values_and_null_are_no_text(text: str, value: object) -> None:
    kitfile = parse_kitfile(f"model:\n  parameters:\n    a: {text}\n".encode())

    assert kitfile_json(kitfile)["model"]["parameters"] == {"a": value}
    assert type(kitfile_json(kitfile)["model"]["parameters"]["a"]) is type(value)


def test_json_is_read_with_its_escapes() -> None:
    kitfile = parse_kitfile(b'{"package": {"name": "\\ud83d\\ude00 a\\/b", "authors": ["x"]}}')

    assert kitfile.package.name == "\N{GRINNING FACE} a/b"


def test_windows_line_ends_count_as_one_line() -> None:
    assert "line 3: package.nam: " in problems(b"package:\r\n  version: 1\r\n  nam: x\r\n")


def test_everything_below_a_refused_key_is_passed_over_in_silence() -> None:
    message = problems("package:\n  name: x\n1:\n  name: y\n  name: z\n  deep: {a: [b]}\n")

    assert message.splitlines()[0] == "Kitfile: 2 problems"
    assert "line 5: the key 'name' is already on line 4" in message


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_what_is_dumped_is_read_back_by_us_and_by_a_reader_of_yaml_1_1(value: dict[str, object]) -> None:
    text = dump_yaml(value)

    document = read_yaml(text.encode(), what="Kitfile")

    assert document.problems == []
    assert plain(document.value) == value
    assert yaml.safe_load(text) == value


@given(st.text("ab:-,[]{}&*!|>'\"%@`#? \n\t~1.e\u2028\ufeff\0", max_size=80))
def test_any_text_is_a_kitfile_or_refused_with_a_reason(text: str) -> None:
    try:
        kitfile = parse_kitfile(text.encode())
    except MlkitError:
        return

    assert parse_kitfile(render_kitfile(kitfile).encode()) == kitfile


def test_several_documents_are_written_for_readers_that_take_a_stream() -> None:
    text = dump_documents([{"kind": "Service", "on": "off"}, {"kind": "Job", "version": "1.10"}])

    assert list(yaml.safe_load_all(text)) == [{"kind": "Service", "on": "off"}, {"kind": "Job", "version": "1.10"}]
    assert "a second document" in read_yaml(text.encode(), what="x").problems[0].message


def test_a_number_beyond_64_bits_is_plain_text() -> None:
    assert plain(read_yaml(b"a: [99999999999999999999, 7, true, ~]", what="x").value) == {
        "a": ["99999999999999999999", 7, True, None]
    }


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".NAN", ".nan", "9" * 5000, "1e999", "~", "true", "6", "1.10"])
def test_text_that_reads_like_something_else_is_written_in_quotes(text: str) -> None:
    written = dump_yaml({"a": text})

    assert plain(read_yaml(written.encode(), what="x").value) == {"a": text}
    assert yaml.safe_load(written) == {"a": text}
    assert type(read_yaml(written.encode(), what="x").value["a"]) is str
