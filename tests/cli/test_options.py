from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.cli.options import General, Network, ProgressMode, parse_annotations, parse_existing, parse_names
from mlkit.errors import UsageError


def test_names_are_taken_apart_in_order_and_each_once() -> None:
    names = parse_names(["a:1,2", "b", "a:2", "host.example/c:x"])

    assert [str(name) for name in names] == ["a:1", "a:2", "b", "host.example/c:x"]
    assert parse_names(None) == ()


@pytest.mark.parametrize("text", ["", "A", "a:", "a:1,", "a:1,-x", "http://a/b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_names([text])


def test_annotations_are_split_at_the_first_equals_sign() -> None:
    assert parse_annotations(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    assert parse_annotations(None) == {}


@pytest.mark.parametrize("text", ["", "a", "=b", "="])
def test_what_is_no_annotation_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an annotation"):
        parse_annotations([text])


def test_existing_files_are_refused_unless_told_otherwise() -> None:
    assert parse_existing(overwrite=False, ignore_existing=False) == "refuse"
    assert parse_existing(overwrite=True, ignore_existing=False) == "overwrite"
    assert parse_existing(overwrite=False, ignore_existing=True) == "ignore"
    with pytest.raises(UsageError):
        parse_existing(overwrite=True, ignore_existing=True)


def test_general_flags_add_up_and_the_later_mode_wins() -> None:
    before = General(as_json=True, verbosity=1, progress=ProgressMode.NONE)
    after = General(quiet=True, verbosity=1, progress=ProgressMode.PLAIN)

    assert after.joined(before) == General(as_json=True, quiet=True, verbosity=2, progress=ProgressMode.PLAIN)
    assert General().joined(before) == before


def test_flags_that_were_not_given_override_nothing() -> None:
    assert set(Network().overrides.values()) == {None}
    assert set(General().overrides.values()) == {None}


def test_flags_that_were_given_override_by_the_name_of_the_setting() -> None:
    given = Network(plain_http=True, ca_files=[Path("a"), Path("b")], concurrency=3, proxy="http://p").overrides

    assert given["plain_http"] is True
    assert given["ca_files"] == (Path("a"), Path("b"))
    assert given["concurrency"] == 3
    assert given["insecure"] is None
    assert General(progress=ProgressMode.PLAIN).overrides == {"progress": "plain", "log_format": None}
