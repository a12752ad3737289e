"""What a report says of each thing that a rule asks for, whole: people read it when a kit is refused at night."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tests.trust.policies import policy

from mlkit.spec.digest import Digest
from mlkit.spec.statement import COSIGN_SIGN, SCAN
from mlkit.trust.evaluate import CLOCK_SKEW, Claim, Content, Facts, applying, evaluate
from mlkit.trust.policy_report import Check, Considered, PolicyReport, RuleTold

KIT, OTHER, INDEX = Digest.of(b"kit"), Digest.of(b"another kit"), Digest.of(b"index")
HOLDER = Digest.of(b"the manifest that carries it")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ONE = "rules: [{scope: a/b, require: [{type: signature, keys: [alice]}]}]"
BOTH = "rules: [{scope: a/b, require: [{type: signature, keys: [alice, bob], threshold: 2}]}]"
CLEAN = "rules: [{scope: a/b, require: [{scan: clean, keys: [alice, bob], max_age: 1d}]}]"
MINUTE = timedelta(minutes=1)


def signature(*names: str, at: datetime | None = None, of: Digest = KIT, is_about: bool = True) -> Claim:
    return Claim(HOLDER, of, is_about, COSIGN_SIGN, names, at)


def scan(*names: str, at: datetime | None = NOW, is_good: bool | None = True) -> Claim:
    return Claim(HOLDER, KIT, True, SCAN, names, at, is_good)


def report(
    text: str, *claims: Claim, content: Content | None = None, now: datetime = NOW, **facts: Any
) -> PolicyReport:
    defaults = {"reference": "r/a/b:1", "repository": "a/b", "digest": KIT, "kits": {KIT: content}}
    return evaluate(policy(text), Facts(claims=claims, **{**defaults, **facts}), now=lambda: now)


def reason(text: str, *claims: Claim, **facts: Any) -> str:
    (check,) = report(text, *claims, **facts).checks
    return check.reason


@pytest.fixture
def far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is not in Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX+9")
        time.tzset()
        yield
    time.tzset()


def test_a_report_says_what_was_held_against_what() -> None:
    text = """rules:
  - {scope: a/b, require: [{type: signature, keys: [alice]}]}
  - {scope: a/*, level: audit, licenses: [MIT]}
  - {scope: x/y, licenses: [MIT]}
"""

    found = report(text, signature("alice"), digest=INDEX, kits={KIT: None, OTHER: None}, purpose="pull")

    assert (found.reference, found.digest, found.kits, found.purpose) == ("r/a/b:1", INDEX, (KIT, OTHER), "pull")
    assert (found.policy, found.policy_digest) == ("mlkit-policy.yaml", policy(text).digest)
    assert found.rule == RuleTold("a/b", 4, "enforce")
    assert found.others == (RuleTold("a/*", 5, "audit"),)


@pytest.mark.parametrize(
    ("rule", "claims", "verdict"),
    [
        ("level: skip", (), "skipped"),
        ("level: audit, require: [{type: signature, keys: [alice]}]", (), "noted"),
        ("require: [{type: signature, keys: [alice]}]", (), "not met"),
        ("require: [{type: signature, keys: [alice]}]", (signature("alice"),), "met"),
    ],
)
def test_the_rule_that_applied_is_told_whatever_came_of_it(rule: str, claims: tuple[Claim, ...], verdict: str) -> None:
    found = report(f"rules: [{{scope: a/b, {rule}}}]", *claims)

    assert found.verdict == verdict
    assert found.rule is not None
    assert (found.rule.scope, found.others) == ("a/b", ())


def test_no_rule_is_a_check_that_is_not_met() -> None:
    found = report("rules: [{scope: x/y, licenses: [MIT]}]")

    assert found.checks == (Check("rule", "a rule", KIT, False, "no rule of mlkit-policy.yaml is for a/b"),)
    assert (found.rule, found.others) == (None, ())


def test_of_two_rules_the_nearer_one_applies_and_of_equals_none() -> None:
    near = policy("rules: [{scope: 'a/*', licenses: [MIT]}, {scope: a/bcd, licenses: [MIT]}]")
    equal = policy(
        """version: 1
keys: {}
rules:
  - {scope: 'a/*d', licenses: [MIT]}
  - {scope: 'a/*', licenses: [MIT]}
  - {scope: 'a/*c*', licenses: [MIT]}
"""
    )
    alone = policy("rules: [{scope: 'a/*d', licenses: [MIT]}]")

    assert applying(near, "a/bcd") is near.rules[1]
    assert applying(equal, "a/bcd") == (
        "the scopes a/*d (line 4) and a/*c* (line 6) of mlkit-policy.yaml are equally near to a/bcd"
    )
    assert applying(equal, "a/cx") is equal.rules[2]
    assert applying(alone, "a/bcd") is alone.rules[0]


def test_a_signature_that_counts_is_told_with_who_and_when() -> None:
    found = report(ONE, signature("bob", "alice", at=NOW.astimezone(timezone(timedelta(hours=2)))))

    assert found.checks == (
        Check(
            "statement",
            "signature by alice",
            KIT,
            True,
            "signature by alice",
            (Considered(HOLDER, KIT, COSIGN_SIGN, ("alice",), "2026-06-01T12:00:00Z", True, None),),
        ),
    )


def test_a_signature_that_does_not_count_is_told_with_why() -> None:
    found = report(ONE, signature("bob"))

    why = "signed by bob, whose word does not count for this"
    assert found.checks == (
        Check(
            "statement",
            "signature by alice",
            KIT,
            False,
            f"signature by alice is required, and there is none that counts ({why})",
            (Considered(HOLDER, KIT, COSIGN_SIGN, (), None, False, why),),
        ),
    )


@pytest.mark.usefixtures("far_west")
def test_times_are_told_in_utc_wherever_the_machine_is() -> None:
    found = report(ONE, signature("alice", at=NOW))

    assert found.checks[0].evidence[0].signed_at == "2026-06-01T12:00:00Z"


@pytest.mark.parametrize(
    ("text", "claims", "expected"),
    [
        (ONE, (), "there is no signature by alice"),
        (BOTH, (), "there is no signature by 2 of alice, bob"),
        (BOTH, (signature("bob", "alice"),), "signature by alice, bob"),
        (BOTH, (signature("bob"),), "signature by 2 of alice, bob is required, and there is only by bob"),
        (
            BOTH.replace("2", "3").replace("bob]", "bob, carol]").replace("rules", "%s"),
            (signature("bob", "alice"),),
            "signature by 3 of alice, bob, carol is required, and there is only by alice, bob",
        ),
        (
            ONE,
            (signature("bob", "carol"), signature(), signature(), signature("alice", is_about=False)),
            "signature by alice is required, and there is none that counts (signed by bob, carol, whose word does not "
            "count for this; signed by nobody whom the policy knows; speaks of other content)",
        ),
        (
            ONE,
            tuple(signature(f"p{number}") for number in range(7)),
            "signature by alice is required, and there is none that counts ("
            + "; ".join(f"signed by p{number}, whose word does not count for this" for number in range(5))
            + ")",
        ),
    ],
    ids=["none", "none of two", "two", "one of two", "two of three", "each reason once", "five reasons"],
)
def test_what_is_missing_is_told(text: str, claims: tuple[Claim, ...], expected: str) -> None:
    keys = "keys: {alice: {file: alice.pub}, bob: {file: bob.pub}, carol: {file: carol.pub}}\nrules"

    assert reason(text % keys if "%s" in text else text, *claims) == expected


def test_every_key_that_does_not_count_says_why() -> None:
    text = """keys:
  alice: {file: alice.pub, revoked: 2026-05-01}
  bob: {file: bob.pub, not_after: 2026-05-01T00:00:00Z}
""" + ONE.replace("[alice]", "[alice, bob]")

    assert reason(text, signature("alice", "bob")) == (
        "signature by one of alice, bob is required, and there is none that counts "
        "(the key alice is revoked; the key bob is not valid after 2026-05-01T00:00:00Z)"
    )
    # One whose word counts is enough.
    good = text.replace("alice.pub, revoked: 2026-05-01", "alice.pub")
    (considered,) = report(good, signature("alice", "bob")).checks[0].evidence
    assert (considered.keys, considered.is_accepted, considered.reason) == (("alice",), True, None)


@pytest.mark.parametrize(
    ("window", "now", "is_met"),
    [
        ("not_before: 2026-06-01T12:00:00Z", NOW - CLOCK_SKEW, True),
        ("not_before: 2026-06-01T12:00:00Z", NOW - CLOCK_SKEW - timedelta(seconds=1), False),
        ("not_after: 2026-06-01T12:00:00Z", NOW + CLOCK_SKEW, True),
        ("not_after: 2026-06-01T12:00:00Z", NOW + CLOCK_SKEW + timedelta(seconds=1), False),
    ],
    ids=["at its begin", "before it", "at its end", "after it"],
)
def test_a_window_with_one_end_is_one(window: str, now: datetime, is_met: bool) -> None:
    text = f"keys: {{alice: {{file: alice.pub, {window}}}}}\n{ONE}"

    assert report(text, signature("alice"), now=now).is_verified is is_met
    # The time that is told must lie in it too.
    assert report(text, signature("alice", at=now), now=NOW).is_verified is is_met


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        (NOW - timedelta(days=1) - CLOCK_SKEW, None),
        (
            NOW - timedelta(days=1) - CLOCK_SKEW - timedelta(seconds=1),
            "was signed 2026-05-31T11:54:59Z, more than 1d ago",
        ),
        (NOW + CLOCK_SKEW, None),
        (
            NOW + CLOCK_SKEW + timedelta(seconds=1),
            "says that it was signed 2026-06-01T12:05:01Z, which is in the future",
        ),
        (None, "does not say when it was signed"),
    ],
    ids=["old enough", "too old", "of a fast clock", "of the future", "of no time"],
)
def test_the_age_of_a_scan_is_judged_to_the_second(signed: datetime | None, expected: str | None) -> None:
    (considered,) = report(CLEAN, scan("alice", at=signed)).checks[0].evidence

    assert (considered.is_accepted, considered.reason) == (expected is None, expected)


@pytest.mark.parametrize("age", ["1s", "90s", "1m", "90m", "1h", "36h", "2d"])
def test_an_age_is_told_as_people_write_it(age: str) -> None:
    text = CLEAN.replace("1d", age)

    (considered,) = report(text, scan("alice", at=NOW - timedelta(days=9))).checks[0].evidence

    assert considered.reason == f"was signed 2026-05-23T12:00:00Z, more than {age} ago"


def test_an_oldest_time_is_for_signatures_and_not_for_scans() -> None:
    text = CLEAN.replace("max_age: 1d", "max_age: 9d").replace("scope:", "not_older_than: 2026-05-30, scope:")
    text = text.replace("require: [", "require: [{type: signature, keys: [alice]}, ")
    old = NOW - timedelta(days=5)

    found = report(text, signature("alice", at=old), scan("alice", at=old))

    told = {check.title: check.evidence[0].reason for check in found.checks}
    assert told == {
        "signature by alice": "was signed 2026-05-27T12:00:00Z, before 2026-05-30T00:00:00Z",
        "scan by one of alice, bob": None,
    }
    assert report(text, signature("alice", at=datetime(2026, 5, 30, tzinfo=UTC)), scan("alice")).is_verified


def test_a_scan_that_a_later_one_overrules_says_so() -> None:
    found = report(CLEAN, scan("alice", at=NOW - MINUTE), scan("bob", is_good=False, at=NOW - MINUTE))

    assert [(one.keys, one.is_accepted, one.reason) for one in found.checks[0].evidence] == [
        (("alice",), False, "another one, which is not older, found something"),
        (("bob",), False, "does not say that the kit is clean"),
    ]
    # The last of those that found something decides, in whatever order they are listed.
    bad = [scan("bob", is_good=False, at=NOW - 3 * MINUTE), scan("bob", is_good=False, at=NOW - MINUTE)]
    for one, other in (bad, bad[::-1]):
        assert not report(CLEAN, one, scan("alice", at=NOW - 2 * MINUTE), other).is_verified
        assert report(CLEAN, one, scan("alice", at=NOW), other).is_verified


def test_each_kit_of_an_index_is_checked_by_itself() -> None:
    text = "rules: [{scope: a/b, require: [{scan: clean, keys: [alice]}, {type: signature, keys: [alice]}]}]"

    found = report(text, scan("alice"), digest=INDEX, kits={KIT: None, OTHER: None})

    assert [(check.title, check.kit, check.is_met) for check in found.checks] == [
        ("scan by alice", KIT, True),
        ("scan by alice", OTHER, False),
        ("signature by alice", INDEX, False),
    ]


SAFE = "rules: [{scope: a/b, serialization: {allow: [safetensors]}}]"
MIT = "rules: [{scope: a/b, licenses: [MIT, Apache-2.0]}]"


@pytest.mark.parametrize(
    ("text", "content", "expected"),
    [
        (SAFE, None, (False, "nothing is known of its files")),
        (SAFE, Content(), (True, "every file is in a format that is allowed")),
        (
            SAFE,
            Content({"a.pt": ("pytorch", "pickle")}, ("b.xyz",)),
            (False, "a.pt is pytorch, b.xyz is of no format that is known, which the policy does not allow"),
        ),
        (
            SAFE,
            Content(unknown=tuple("abcde")),
            (
                False,
                ", ".join(f"{name} is of no format that is known" for name in "abcde")
                + ", which the policy does not allow",
            ),
        ),
        (
            SAFE,
            Content(unknown=tuple("abcdef")),
            (
                False,
                ", ".join(f"{name} is of no format that is known" for name in "abcde")
                + " and 1 more, which the policy does not allow",
            ),
        ),
        (
            SAFE,
            Content(unknown=("\n" + "x" * 300,)),
            (False, "\\n" + "x" * 198 + " is of no format that is known, which the policy does not allow"),
        ),
        (MIT, None, (False, "nothing is known of its files")),
        (MIT, Content(), (False, "its Kitfile names no licence")),
        (
            MIT,
            Content(licences={"package.license": "MIT", "model.license": "Apache-2.0", "code[0].license": "MIT"}),
            (True, "licensed under MIT, Apache-2.0"),
        ),
        (
            MIT,
            Content(licences={"package.license": "X" * 200}),
            (False, "package.license is '" + "X" * 99 + " (allowed: MIT, Apache-2.0)"),
        ),
    ],
)
def test_formats_and_licences_are_told_whole(text: str, content: Content | None, expected: tuple[bool, str]) -> None:
    kind, title = ("serialization", "serialization") if text is SAFE else ("licence", "licences")

    found = report(text, content=content)

    assert found.checks == (Check(kind, title, KIT, *expected),)  # type: ignore[arg-type]  # one of two words
    assert found.is_verified is False
