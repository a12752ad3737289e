"""Policy and facts in, report out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.trust.policies import policy

from mlkit.spec.digest import Digest
from mlkit.spec.media_types import CREATED
from mlkit.spec.statement import COSIGN_SIGN, CYCLONEDX, SCAN, SLSA_PROVENANCE, Statement, Subject
from mlkit.spec.test_result import TEST_RESULT
from mlkit.trust.claims import claim_of
from mlkit.trust.evaluate import Claim, Content, Facts, evaluate
from mlkit.trust.policy_report import PolicyReport

KIT = Digest.of(b"kit")
OTHER = Digest.of(b"another kit")
INDEX = Digest.of(b"index")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT_NOON = "2026-06-01T12:00:00Z"


def no_clock() -> datetime:
    pytest.fail("the clock was asked")


def signature(*names: str, at: datetime | None = None, of: Digest = KIT, **more: Any) -> Claim:
    return Claim(Digest.of(f"{names}{at}{more}".encode()), of, True, COSIGN_SIGN, names, at, **more)


def scan(*names: str, clean: bool | None = True, at: datetime | None = NOW, of: Digest = KIT) -> Claim:
    return Claim(Digest.of(f"{names}{at}{clean}".encode()), of, True, SCAN, names, at, clean)


def report(
    text: str, *claims: Claim, content: Content | None = None, now: Any = no_clock, **facts: Any
) -> PolicyReport:
    defaults = {"reference": "a/b:1", "repository": "a/b", "digest": KIT, "kits": {KIT: content}}
    return evaluate(policy(text), Facts(claims=claims, **{**defaults, **facts}), now=now)


ONE = "rules: [{scope: a/b, require: [{type: signature, keys: [alice]}]}]"
TWO = "rules: [{scope: a/b, require: [{type: signature, keys: [alice, bob], threshold: 2}]}]"
CLEAN = "rules: [{scope: a/b, require: [{scan: clean, keys: [alice, bob], max_age: 30d}]}]"


def test_a_signature_of_the_right_key_is_enough_and_needs_no_clock() -> None:
    found = report(ONE, signature("alice"))

    assert (found.verdict, found.is_verified, found.is_refused) == ("met", True, False)
    (check,) = found.checks
    assert check.reason == "signature by alice"
    assert check.evidence[0].keys == ("alice",)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ((), "there is no signature by alice"),
        ((signature("bob"),), "signed by bob, whose word does not count for this"),
        ((signature(),), "signed by nobody whom the policy knows"),
        ((Claim(KIT, KIT, False, COSIGN_SIGN, ("alice",)),), "speaks of other content"),
        ((Claim(KIT, KIT, True, SLSA_PROVENANCE, ("alice",)),), "there is no signature by alice"),
        ((signature("alice", of=OTHER),), "there is no signature by alice"),
    ],
    ids=["none", "another key", "nobody", "other content", "another type", "of another kit"],
)
def test_what_does_not_count_is_told(claims: tuple[Claim, ...], reason: str) -> None:
    found = report(ONE, *claims)

    assert (found.verdict, found.is_verified) == ("not met", False)
    assert reason in found.failures[0]


@pytest.mark.parametrize(
    ("claims", "is_met"),
    [
        ((signature("alice"), signature("bob")), True),
        ((signature("alice", "bob"),), True),
        ((signature("alice"), signature("alice", at=NOW)), False),
        ((signature("alice"), signature("carol")), False),
        ((signature("alice"),), False),
    ],
    ids=["two", "two in one bundle", "one twice", "a stranger", "one"],
)
def test_a_threshold_counts_different_keys(claims: tuple[Claim, ...], is_met: bool) -> None:
    found = report(TWO, *claims)

    assert found.is_verified is is_met
    if not is_met:
        assert "signature by 2 of alice, bob is required, and there is only by alice" in found.failures[0]


def test_no_rule_is_a_refusal() -> None:
    found = report("rules: [{scope: x/y, licenses: [MIT]}]", signature("alice"))

    assert (found.verdict, found.rule) == ("not met", None)
    assert found.failures == ("no rule of mlkit-policy.yaml is for a/b",)


def test_an_audit_tells_and_a_skip_does_not_look() -> None:
    audit = report(ONE.replace("require", "level: audit, require"))
    skip = report("rules: [{scope: a/b, level: skip}]")

    assert (audit.verdict, audit.is_refused, audit.is_verified) == ("noted", False, False)
    assert audit.failures
    assert (skip.verdict, skip.is_refused, skip.is_verified, skip.checks) == ("skipped", False, False, ())


def test_what_needs_no_statement_is_not_called_verified() -> None:
    found = report("rules: [{scope: a/b, licenses: [MIT]}]", content=Content(licences={"package.license": "MIT"}))

    assert (found.verdict, found.is_verified) == ("met", False)


def test_h13_an_older_release_does_not_come_back() -> None:
    text = ONE.replace("scope:", "not_older_than: 2026-03-01, scope:")
    old, new = datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)

    assert (
        "was signed 2026-02-28T00:00:00Z, before 2026-03-01T00:00:00Z"
        in report(text, signature("alice", at=old)).failures[0]
    )
    assert "does not say when it was signed" in report(text, signature("alice")).failures[0]
    assert report(text, signature("alice", at=new)).is_verified
    # Signed again, on purpose, an old release is a new one.
    assert report(text, signature("alice", at=old), signature("alice", at=new)).is_verified

    statement = Statement((Subject("a/b", KIT, {CREATED: "2026-02-28T00:00:00Z"}),), COSIGN_SIGN, {})
    claim = claim_of(OTHER, KIT, statement, ("alice",))
    # What counts is the time in the signed statement, not what anybody may write beside it.
    assert claim.signed_at == old
    assert report(text, claim).is_refused


def test_h14_windows_are_held_against_the_clock_with_five_minutes_to_spare() -> None:
    window = """
keys:
  alice: {file: alice.pub, not_before: 2026-01-01T00:00:00Z, not_after: 2026-06-01T12:00:00Z}
"""
    text = window + ONE
    inside, late = datetime(2026, 5, 1, tzinfo=UTC), NOW + timedelta(minutes=6)

    assert report(text, signature("alice", at=inside), now=lambda: NOW + timedelta(minutes=4)).is_verified
    expired = report(text, signature("alice", at=inside), now=lambda: late)
    assert "the key alice is not valid after 2026-06-01T12:00:00Z" in expired.failures[0]
    early = report(text, signature("alice"), now=lambda: datetime(2025, 12, 31, tzinfo=UTC))
    assert "the key alice is not valid before 2026-01-01T00:00:00Z" in early.failures[0]
    # A signature that says it was made before the key was valid is none of this key's.
    before = report(text, signature("alice", at=datetime(2025, 1, 1, tzinfo=UTC)), now=lambda: NOW)
    assert "not valid before" in before.failures[0]
    # Without a window or an age, no clock is asked: it may be wrong, and there may be none.
    assert report(ONE, signature("alice", at=datetime(2999, 1, 1, tzinfo=UTC)), now=no_clock).is_verified
    future = report(
        ONE.replace("keys: [alice]", "keys: [alice], max_age: 1d"), signature("alice", at=late), now=lambda: NOW
    )
    assert "which is in the future" in future.failures[0]
    assert report(
        ONE.replace("keys: [alice]", "keys: [alice], max_age: 1d"),
        signature("alice", at=NOW + timedelta(minutes=4)),
        now=lambda: NOW,
    ).is_verified


def test_a_key_that_is_revoked_signs_nothing_whatever_the_date() -> None:
    text = "keys: {alice: {file: alice.pub, revoked: 2026-05-01}}\n" + ONE

    found = report(text, signature("alice", at=datetime(2020, 1, 1, tzinfo=UTC)))

    assert "the key alice is revoked" in found.failures[0]


def test_what_is_too_old_does_not_count() -> None:
    def age(days: int) -> PolicyReport:
        return report(CLEAN, scan("alice", at=NOW - timedelta(days=days)), now=lambda: NOW)

    assert age(30).is_verified
    assert "more than 30d ago" in age(31).failures[0]
    assert "does not say when" in report(CLEAN, scan("alice", at=None), now=lambda: NOW).failures[0]


def test_h20_a_scan_counts_by_those_who_may_scan() -> None:
    text = CLEAN.replace("[alice, bob]", "[bob]")

    assert report(text, scan("bob"), now=lambda: NOW).is_verified
    builder = report(text, scan("alice"), now=lambda: NOW)
    assert "signed by alice, whose word does not count for this" in builder.failures[0]
    # Nor does the right person's word on something else.
    provenance = Claim(OTHER, KIT, True, SLSA_PROVENANCE, ("bob",), NOW, True)
    assert report(text, provenance, signature("bob"), now=lambda: NOW).is_refused


def test_a_scan_must_say_that_the_kit_is_good() -> None:
    for verdict in (False, None):
        assert (
            "does not say that the kit is clean"
            in report(CLEAN, scan("alice", clean=verdict), now=lambda: NOW).failures[0]
        )


def test_checks_must_have_passed() -> None:
    text = "rules: [{scope: a/b, require: [{checks: passed, keys: [alice]}]}]"

    def claim(predicate: dict[str, Any]) -> Claim:
        statement = Statement((Subject("a/b", KIT, {CREATED: AT_NOON}),), TEST_RESULT, predicate)
        return claim_of(OTHER, KIT, statement, ("alice",))

    assert report(text, claim({"result": "PASSED"})).is_verified
    failed = report(text, claim({"result": "FAILED"}))
    assert "does not say that all passed" in failed.failures[0]
    assert report(text, claim({"result": "PASSED", "failedTests": ["x"]})).is_refused


def test_an_old_scan_that_is_signed_today_is_an_old_scan() -> None:
    statement = Statement(
        (Subject("a/b", KIT, {CREATED: AT_NOON}),), SCAN, {"verdict": "clean", "scannedAt": "2020-01-01T00:00:00Z"}
    )

    assert (
        "more than 30d ago" in report(CLEAN, claim_of(OTHER, KIT, statement, ("alice",)), now=lambda: NOW).failures[0]
    )


def test_a_later_scan_that_found_something_decides() -> None:
    day = timedelta(days=1)

    def verdict(*claims: Claim) -> str:
        return report(CLEAN, *claims, now=lambda: NOW).verdict

    assert verdict(scan("alice", at=NOW - 2 * day), scan("bob", clean=False, at=NOW - day)) == "not met"
    assert verdict(scan("alice", at=NOW - 2 * day), scan("bob", clean=False, at=NOW - 3 * day)) == "met"
    assert verdict(scan("alice", at=NOW - day), scan("bob", clean=False, at=NOW - day)) == "not met"
    assert verdict(scan("alice", at=NOW - day), scan("bob", clean=False, at=None)) == "not met"
    assert verdict(scan("alice", at=NOW - day), scan("carol", clean=False)) == "met"


def test_h16_a_signature_counts_for_what_the_reference_named() -> None:
    chosen = {"digest": INDEX, "kits": {KIT: None}}

    # The index that was named is signed: what it lists is covered, and the path is on record.
    found = report(ONE, signature("alice", of=INDEX), **chosen)
    assert found.is_verified
    assert (found.digest, found.kits) == (INDEX, (KIT,))
    # A kit that is signed says nothing of an index that somebody else put it into.
    assert report(ONE, signature("alice"), **chosen).is_refused
    # Whoever names the kit itself gets the kit's signature, and the index does not stand for it.
    assert report(ONE, signature("alice")).is_verified
    assert report(ONE, signature("alice", of=INDEX)).is_refused


def test_other_statements_count_on_the_kit_and_on_its_index() -> None:
    both = {"digest": INDEX, "kits": {KIT: None, OTHER: None}}

    assert report(CLEAN, scan("alice", of=INDEX), now=lambda: NOW, **both).is_verified
    assert report(CLEAN, scan("alice"), scan("alice", of=OTHER), now=lambda: NOW, **both).is_verified
    half = report(CLEAN, scan("alice"), now=lambda: NOW, **both)
    assert half.failures == (f"{OTHER.short}: there is no scan by one of alice, bob",)


@pytest.mark.parametrize(
    ("rule", "formats", "unknown", "reason"),
    [
        ("allow: [safetensors]", {"m.safetensors": ("safetensors",)}, (), None),
        ("allow: [safetensors]", {"m.gguf": ("gguf",)}, (), "m.gguf is gguf, which the policy does not allow"),
        ("allow: [safetensors]", {}, ("m.xyz",), "m.xyz is of no format that is known"),
        ("deny: [pickle]", {"m.pt": ("pytorch", "pickle")}, ("m.xyz",), "m.pt is pytorch"),
        ("deny: [pickle]", {"m.gguf": ("gguf",)}, ("m.xyz",), None),
        ("allow: [pickle]", {"m.pt": ("pytorch", "pickle")}, (), None),
        ("allow: [pickle], deny: [pytorch]", {"m.pt": ("pytorch", "pickle")}, (), "m.pt is pytorch"),
        ("deny: [pickle]", {f"{n}\n.pkl": ("pickle",) for n in range(9)}, (), r"0\n.pkl is pickle, 1\n.pkl"),
    ],
)
def test_weights_are_in_formats_that_are_allowed(
    rule: str, formats: dict[str, tuple[str, ...]], unknown: tuple[str, ...], reason: str | None
) -> None:
    found = report(f"rules: [{{scope: a/b, serialization: {{{rule}}}}}]", content=Content(formats, unknown))

    assert found.is_refused is (reason is not None)
    if reason is not None:
        assert reason in found.failures[0]
        assert "\n" not in found.failures[0]


def test_every_licence_must_be_allowed_and_one_must_be_told() -> None:
    text = "rules: [{scope: a/b, licenses: [MIT, Apache-2.0]}]"

    assert report(text, content=Content(licences={"model.license": "MIT OR GPL-3.0-only"})).verdict == "met"
    other = report(text, content=Content(licences={"package.license": "MIT", "datasets[0].license": "CC-BY-NC-4.0"}))
    assert "datasets[0].license is 'CC-BY-NC-4.0' (allowed: MIT, Apache-2.0)" in other.failures[0]
    assert report(text, content=Content()).failures == ("its Kitfile names no licence",)
    assert report(text).failures == ("nothing is known of its files",)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (Statement((Subject("a", KIT),), SLSA_PROVENANCE, {"runDetails": {"metadata": {"finishedOn": AT_NOON}}}), NOW),
        (Statement((Subject("a", KIT),), CYCLONEDX, {"metadata": {"timestamp": "2026-06-01T14:00:00+02:00"}}), NOW),
        (Statement((Subject("a", KIT),), CYCLONEDX, {"metadata": "x"}), None),
        (Statement((Subject("a", KIT, {CREATED: "2026-06-01T12:00:00"}),), COSIGN_SIGN, {}), None),
        (Statement((Subject("a", KIT, {CREATED: "yesterday"}),), COSIGN_SIGN, {}), None),
        (Statement((Subject("a", KIT, {CREATED: "0001-01-01T00:00:00+23:59"}),), COSIGN_SIGN, {}), None),
        (Statement((Subject("b", OTHER, {CREATED: "2026-06-01T12:00:00Z"}), Subject("a", KIT)), COSIGN_SIGN, {}), None),
    ],
    ids=["provenance", "a bill of materials", "no object", "no offset", "no time", "too early", "of other content"],
)  # fmt: skip
def test_when_a_statement_was_signed_is_what_it_says_of_this_kit(
    statement: Statement, expected: datetime | None
) -> None:
    assert claim_of(OTHER, KIT, statement, ()).signed_at == expected
