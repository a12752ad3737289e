"""WWW-Authenticate as registries write it, rightly and wrongly."""

from __future__ import annotations

import time

import pytest

from mlkit.errors import AuthError
from mlkit.registry.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Basic", [Challenge("basic")]),
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ('BEARER Realm="x" , SERVICE = y', [Challenge("bearer", {"realm": "x", "service": "y"})]),
        (r'Bearer realm="a\"b\\c,d"', [Challenge("bearer", {"realm": 'a"b\\c,d'})]),
        ("Bearer realm=https://x.example/token,service=x", [
            Challenge("bearer", {"realm": "https://x.example/token", "service": "x"})]),
        ('Negotiate, Basic realm="x"', [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Negotiate YWJj==, Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ('Basic realm="x", Bearer realm="y",scope="a,b"', [
            Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "scope": "a,b"})]),
        ('Bearer realm="x",realm="y"', []),
        ('Bearer realm="x', []),
        ("Bearer realm=", []),
        ('Bearer =x, Basic realm="y"', [Challenge("basic", {"realm": "y"})]),
        ('realm="x"', []),
        ("@@@, , ;;", []),
        (",,, Basic", [Challenge("basic")]),
    ],
)  # fmt: skip
def test_g07_challenges_are_read_and_what_is_malformed_is_left_out(text: str, found: list[Challenge]) -> None:
    assert list(parse_challenges([text])) == found


def test_a_challenge_of_8_kib_is_read_and_no_more() -> None:
    (found,) = parse_challenges(["Basic realm=x".ljust(8192)])

    assert found.parameters == {"realm": "x"}
    with pytest.raises(AuthError, match="8193 characters"):
        parse_challenges(["Basic realm=x".ljust(8193)])


def test_a_challenge_without_end_is_refused_and_a_long_one_read_in_no_time() -> None:
    with pytest.raises(AuthError, match="8192"):
        parse_challenges(["Bearer " + "a" * 9000])
    with pytest.raises(AuthError):
        parse_challenges(["Basic"] * 2000)
    for text in ('"' * 8000, "a=" * 4000, "\\" * 8000, 'a="' + "\\\\" * 3000, ", " * 4000, "a " * 4000):
        started = time.process_time()
        parse_challenges([text])
        assert time.process_time() - started < 1  # linear: milliseconds; quadratic would be minutes
