from __future__ import annotations

import pytest

from mlkit.archive.limits import Limits
from mlkit.archive.names import NameSet, check_name, collision_key, shown
from mlkit.errors import LimitError, UnsafeError


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "model/weights.safetensors",
        ".gitignore",
        "a b/c (1).txt",
        "données/été.csv",
        "模型/权重.bin",
        "न\u200dम.txt",
        "-x",
        "...a",
        "..a/b..c",
        "com/lpt/com10/auxiliary.txt",
        "a~/b~1",
        "x" * 255,
        "/".join("a" * 64),
    ],
)
def test_an_honest_name_comes_back_as_it_is(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        ".",
        "..",
        "a/",
        "a//b",
        "./a",
        "a/./b",
        "a/..",
        "~",
        "~/x",
        ".git",
        "a/.GIT/hooks",
        ".g\u200cit",
        "git~1/x",
    ],
)
def test_a_name_that_is_not_clean_is_refused(name: str) -> None:
    with pytest.raises(UnsafeError):
        check_name(name)


def test_the_limits_of_a_name_are_counted_in_bytes_and_components() -> None:
    limits = Limits(path_bytes=12, component_bytes=5, depth=3)

    assert check_name("abcde/é/x", limits=limits) == "abcde/é/x"
    for name in ("abcdef", "éée/ééé", "a/b/c/d", "aaaaa/aaaaa/a", "a/ééé", "éé\N{GRINNING FACE}é/é"):
        with pytest.raises(LimitError):
            check_name(name, limits=limits)


@pytest.mark.parametrize(
    ("one", "other"),
    [("A.bin", "a.bin"), ("\u00e9", "e\u0301"), ("\ufb01x", "FIx"), ("stra\u00dfe", "STRASSE"), ("a\u200db", "ab")],
    ids=["case", "nfc-nfd", "ligature", "sharp-s", "joiner"],
)
def test_names_that_some_file_system_takes_for_one_have_one_key(one: str, other: str) -> None:
    assert collision_key(one) == collision_key(other)


def test_names_that_differ_have_different_keys() -> None:
    assert len({collision_key(name) for name in ("a", "b", "e", "é", "a/b", "ab", "\u0131", "i")}) == 8


def test_a_set_of_names_takes_each_file_once_and_shares_directories() -> None:
    names = NameSet()
    names.add_file("a/b/one")
    names.add_file("a/b/two")
    names.add_directory("a/b")
    names.add_directory("c")
    names.add_directory("c")

    assert len(names) == 5
    for path in ("a/b/one", "a/b", "a", "c"):
        with pytest.raises(UnsafeError, match="twice"):
            names.add_file(path)
    with pytest.raises(UnsafeError, match="twice"):
        names.add_file("a/b/one/below")
    with pytest.raises(UnsafeError, match="one file"):
        names.add_file("A/b/three")
    with pytest.raises(UnsafeError, match="one file"):
        names.add_directory("a/B")


def test_a_shown_name_is_escaped_and_short() -> None:
    assert shown("a\x1b[31m\n\u202e") == r"'a\x1b[31m\n\u202e'"
    assert len(shown("x" * 100_000)) == 200


def test_a_name_that_was_given_back_is_free_and_those_above_it_are_not() -> None:
    names = NameSet()
    names.add_file("a/One")

    names.free_file("a/One")

    names.add_file("a/one")
    with pytest.raises(UnsafeError, match="twice"):
        names.add_file("a")
