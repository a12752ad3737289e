from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.policies import policy

from mlkit.trust.evaluate import applying
from mlkit.trust.policy import Rule
from mlkit.trust.scopes import Scope


@pytest.mark.parametrize(
    ("scope", "matching", "others"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "x/a/b", "a/bb"]),
        ("a/*", ["a/b", "a/x-y"], ["a/b/c", "a", "b/a"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab/c"]),
        ("**", ["a", "a/b/c", "registry.example:5000/x"], []),
        ("**/digits", ["digits", "a/digits", "a/b/digits"], ["a/digits-2", "digits/a"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/b", "az"]),
        (
            "registry.example/team/**",
            ["registry.example/team/x"],
            ["registryXexample/team/x", "registry.example/teamx/y"],
        ),
        ("localhost:5000/*", ["localhost:5000/x"], ["localhost:5001/x", "localhost/x"]),
        ("[::1]:5000/*", ["[::1]:5000/x"], [":/x"]),
        ("a/digits-*-q4", ["a/digits-1.2-q4"], ["a/digits-q4", "a/digits-1/2-q4"]),
    ],
)
def test_a_star_stays_in_its_component_and_two_do_not(scope: str, matching: list[str], others: list[str]) -> None:
    found = Scope.parse(scope)

    assert [name for name in (*matching, *others) if found.matches(name)] == matching


@pytest.mark.parametrize(
    "text", ["", "a//b", "/a", "a/", "a/b:tag", "A/b", "a/***", "a/**b", "a b", "a/é", "a\n", "x" * 600]
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        Scope.parse(text)


def test_no_name_takes_long_however_many_wildcards_there_are() -> None:
    scope = Scope.parse("**/" * 60 + "*a" * 60 + "/b")
    before = time.process_time()

    assert not scope.matches("a/" * 60 + "a" * 120)
    # A matcher that goes back would need longer than there is time.
    assert time.process_time() - before < 5


@given(
    st.lists(st.sampled_from(["**", "*", "a", "*a", "a*b", "*a*"]), min_size=1, max_size=4),
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5),
)
def test_a_scope_matches_what_the_same_pattern_as_an_expression_does(pattern: list[str], names: list[str]) -> None:
    *others, last = pattern
    written = "".join("(?:[^/]+/)*" if one == "**" else one.replace("*", "[^/]*") + "/" for one in others)
    written += ".+" if last == "**" else last.replace("*", "[^/]*")
    name = "/".join(names)

    assert Scope.parse("/".join(pattern)).matches(name) == (re.fullmatch(written, name) is not None)


@pytest.mark.parametrize(
    ("repository", "nearest"),
    [
        ("r.example/team/digits", "r.example/team/digits"),
        ("r.example/team/letters", "r.example/team/*"),
        ("r.example/team/sub/letters", "r.example/team/**"),
        ("r.example/other/letters", "r.example/**"),
        ("elsewhere.example/digits", "**/digits"),
        ("elsewhere.example/letters", "**"),
    ],
)
def test_the_nearest_scope_decides_wherever_it_stands(repository: str, nearest: str) -> None:
    scopes = ["**", "r.example/**", "r.example/team/**", "r.example/team/*", "r.example/team/digits", "**/digits"]
    for order in (scopes, scopes[::-1]):
        rules = ", ".join(f'{{scope: "{scope}", licenses: [MIT]}}' for scope in order)

        rule = applying(policy(f"rules: [{rules}]"), repository)

        assert isinstance(rule, Rule)
        assert rule.scope.text == nearest


def test_two_scopes_that_are_equally_near_are_no_rule() -> None:
    found = applying(
        policy('rules: [{scope: "a/*bc", licenses: [MIT]}, {scope: "a/*c*d", level: audit, licenses: [MIT]}]'), "a/xbc"
    )
    assert isinstance(found, Rule)

    found = applying(
        policy('rules: [{scope: "a/*bc", licenses: [MIT]}, {scope: "a/*b*c", level: audit, licenses: [MIT]}]'), "a/xbc"
    )
    assert isinstance(found, str)
    assert "equally near" in found
