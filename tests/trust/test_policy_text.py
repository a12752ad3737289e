"""Policies as people write them, and everything that is wrong with one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.trust.policies import ALICE, BOB, CAROL, KEYS, policy

from mlkit.errors import LimitError, MlkitError, NotFoundError, UnsafeError, UsageError
from mlkit.spec.statement import COSIGN_SIGN, SCAN, SLSA_PROVENANCE
from mlkit.trust.policy import Serialization
from mlkit.trust.policy_file import load_policy
from mlkit.trust.policy_text import parse_policy

RULE = "rules: [{scope: a/b, require: [{type: signature, keys: [alice]}]}]"


def problems(text: str) -> str:
    """What the author of a policy reads."""
    with pytest.raises(UsageError) as caught:
        policy(text)
    return caught.value.message


def test_a_policy_says_whose_word_counts_for_what() -> None:
    found = policy(
        """
keys:
  alice: {file: alice.pub, not_before: 2026-01-01, not_after: 2026-12-31T23:59:59+01:00}
  bob: {file: bob.pub, revoked: 2026-05-01}
rules:
  - scope: registry.example/team/**
    require:
      - {type: signature, keys: [alice, bob], threshold: 2}
      - {predicateType: slsaprovenance1, keys: [alice], max_age: 2w}
      - {scan: clean, max_age: 90d}
    serialization: {allow: [safetensors, gguf], deny: [pickle]}
    licenses: [Apache-2.0, MIT]
    not_older_than: 2026-02-01
  - {scope: "**", level: audit, licenses: [MIT]}
"""
    )

    first, second = found.rules
    signature, provenance, scan = first.requirements
    assert (signature.predicate_type, signature.keys, signature.threshold) == (COSIGN_SIGN, ("alice", "bob"), 2)
    assert (provenance.predicate_type, provenance.max_age) == (SLSA_PROVENANCE, timedelta(weeks=2))
    assert (scan.predicate_type, scan.must_be_good, scan.keys) == (SCAN, True, ("alice", "bob"))
    assert first.serialization == Serialization(("safetensors", "gguf"), ("pickle",))
    assert first.licences == ("Apache-2.0", "MIT")
    assert first.not_older_than == datetime(2026, 2, 1, tzinfo=UTC)
    assert found.keys["alice"].not_after == datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)
    assert found.keys["bob"].is_revoked
    assert not found.keys["alice"].is_revoked
    assert (first.level, second.level, first.line) == ("enforce", "audit", 7)


def test_a_key_may_stand_in_the_policy_itself() -> None:
    text = json.dumps(
        {
            "version": 1,
            "keys": {"alice": {"pem": ALICE.public.pem}},
            "rules": [{"scope": "a/b", "require": [{"type": "signature", "keys": ["alice"]}]}],
        }
    )

    found = parse_policy(text.encode(), what="p.yaml", read_key=lambda path: pytest.fail(path))

    assert found.keys["alice"].public == ALICE.public


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "rules: [{scope: a/b, lisences: [MIT]}]", 'rules[0].lisences: unknown key (did you mean "lic', id="key"
        ),
        pytest.param(
            "keys: {x: {fil: y}}\n" + RULE, 'keys.x.fil: unknown key (did you mean "file"?)', id="key of a key"
        ),
        pytest.param("rules: [{scope: a/b, level: warn}]", "rules[0].level: expected 'enforce', 'audit'", id="level"),
        pytest.param("version: 2\n" + RULE, "version: expected 1, found", id="version"),
        pytest.param("keys: {}", "rules: missing", id="no rules"),
        pytest.param("rules: []", "rules: needs at least one rule", id="empty rules"),
        pytest.param("rules: [{scope: a/b}]", "rules[0]: requires nothing", id="nothing is required"),
        pytest.param("rules: [{scope: a/b, require: []}]", "rules[0]: requires nothing", id="an empty list"),
        pytest.param("rules: [{scope: a/b, level: audit}]", "rules[0]: requires nothing", id="nothing is audited"),
        pytest.param("rules: [{scope: a/b, require: [{keys: [alice]}]}]", "needs one of type, pred", id="no kind"),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, scan: clean, keys: [alice]}]}]",
            "needs one of type, predicateType, scan and checks",
            id="two kinds",
        ),
        pytest.param("rules: [{scope: a/b, require: [{type: signature}]}]", "needs keys: whose word", id="no keys"),
        pytest.param("rules: [{scope: a/b, require: [{scan: clean}]}]", "needs keys: whose word", id="nobody's scan"),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, keys: [carol]}]}]",
            'rules[0].require[0].keys[0]: there is no key "carol" (keys: alice, bob)',
            id="an unknown key",
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, keys: [alice, alice]}]}]", "is there twice", id="twice"
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, keys: [alice], threshold: 2}]}]",
            "2 of 1 keys can never be",
            id="a threshold out of reach",
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, keys: [alice], threshold: 0}]}]",
            "expected a number from 1 to 64",
            id="a threshold of none",
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{type: signature, keys: [alice], max_age: 90}]}]",
            "expected a span such as 90d",
            id="a span without a unit",
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{predicateType: provenance, keys: [alice]}]}]",
            "is no type of predicate",
            id="no predicate",
        ),
        pytest.param(
            "rules: [{scope: a/b, require: [{predicateType: scan, keys: [alice]}]}]",
            "is there whatever it says: write `scan: clean` or `checks: passed`",
            id="a scan of any result",
        ),
        pytest.param("rules: [{scope: a/b, licenses: []}]", "rules[0].licenses: allows none", id="no licence"),
        pytest.param("rules: [{scope: a/b, serialization: {}}]", "needs allow or deny", id="no format"),
        pytest.param("rules: [{scope: a/b, serialization: {deny: [pickel]}}]", "no format of weights", id="a format"),
        pytest.param(
            "rules: [{scope: a/b, licenses: [MIT], not_older_than: 2026-01-01}]",
            "is about signatures, and the rule requires none",
            id="an age of nothing",
        ),
        pytest.param("rules: [{scope: a/b, licenses: [MIT], not_older_than: 1/2/26}]", "expected a time", id="a time"),
        pytest.param("rules: [{scope: A/b, licenses: [MIT]}]", "is no component of a scope", id="a scope"),
        pytest.param(
            "rules: [{scope: a/b**, licenses: [MIT]}]", "is no component of a scope", id="stars in a component"
        ),
        pytest.param('rules: [{scope: "", licenses: [MIT]}]', "rules[0].scope: expected text", id="an empty scope"),
        pytest.param("rules: [{licenses: [MIT]}]", "rules[0].scope: missing", id="no scope"),
        pytest.param("keys: {x: {}}\n" + RULE, "keys.x: needs either pem or file", id="no text of a key"),
        pytest.param(
            "keys: {x: {file: alice.pub, not_before: 2026-02-01, not_after: 2026-01-01}}\n" + RULE,
            "keys.x.not_after: is before not_before",
            id="a window that is none",
        ),
        pytest.param(
            "keys: {alice: {file: alice.pub}, x: {file: none.pub}}\n" + RULE,
            "keys.x: none.pub: no such key",
            id="no key file",
        ),
        pytest.param(
            "keys: {alice: {file: alice.pub}, x: {file: alice.key}}\n" + RULE,
            "keys.x: alice.key: a private key",
            id="a private key",
        ),
        pytest.param(
            "keys: {alice: {file: alice.pub}, y: {file: alice.pub}}\n" + RULE,
            'keys.y: is the same key as "alice"',
            id="one key under two names",
        ),
        pytest.param("rules: &a [*a]", "anchors (&a) are not allowed", id="an anchor"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, expected: str) -> None:
    message = problems(text)

    assert expected in message
    assert "line " in message


@pytest.mark.parametrize("text", ["- scope: a/b", "x", "# nothing", ""])
def test_what_is_no_mapping_is_no_policy(text: str) -> None:
    with pytest.raises(UsageError, match="line 1: the file is"):
        parse_policy(text.encode(), what="p.yaml", read_key=lambda _: b"")


def test_h17_a_policy_that_cannot_be_trusted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlkit-policy.yaml"

    def attempt(text: str | None, error: type[MlkitError], match: str) -> None:
        if text is not None:
            path.write_text("version: 1\nkeys: {alice: {file: alice.pub}}\n" + text)
        with pytest.raises(error, match=match):
            load_policy(path)

    attempt(None, NotFoundError, "no such policy")
    attempt(RULE, UsageError, "alice.pub: no such key")
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    attempt("rules: [", UsageError, "line ")
    attempt("", UsageError, "rules: missing")
    attempt(RULE.replace("signature", "signed"), UsageError, "rules.0..require.0..type: expected 'signature'")
    attempt("rules: [{scope: a/b, level: off, licenses: [MIT]}]", UsageError, r"rules\[0\].level: expected")
    twice = "rules: [{scope: a/b, licenses: [MIT]}, {scope: a/b, level: audit, licenses: [MIT]}]"
    attempt(twice, UsageError, r'rules\[1\].scope: "a/b" is already the scope of rules\[0\]')
    for scope in ("*", "**", "**/a", "*/**", "*.example/team/x"):
        attempt(f'rules: [{{scope: "{scope}", level: skip}}]', UsageError, "is too wide to skip")
    attempt("rules: [{scope: a/b, level: skip, licenses: [MIT]}]", UsageError, "requires something and is skipped")

    path.write_text("version: 1\nkeys: {alice: {file: alice.pub}}\n" + RULE)
    assert load_policy(path).keys["alice"].public == ALICE.public
    path.chmod(0o666)
    attempt(None, UnsafeError, "everybody may write")
    path.chmod(0o644)
    (tmp_path / "alice.pub").chmod(0o646)
    attempt(None, UsageError, "everybody may write to this key")
    (tmp_path / "alice.pub").chmod(0o644)
    tmp_path.chmod(0o777)
    attempt(None, UnsafeError, "everybody may replace the policy")
    tmp_path.chmod(0o755)
    (tmp_path / "real.yaml").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to("real.yaml")
    attempt(None, UnsafeError, "symbolic link")
    path.unlink()
    path.mkdir()
    attempt(None, UsageError, "not a file")


def test_a_policy_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("#" * (256 * 1024 + 1))

    with pytest.raises(UsageError, match="more than 262144 bytes"):
        load_policy(path)
    with pytest.raises(LimitError):
        policy("rules: " + "[" * 40)
    with pytest.raises(UsageError, match=r"101 keys \(at most 100\)"):
        policy("keys: {" + ", ".join(f"k{number}: {{file: alice.pub}}" for number in range(101)) + "}\n" + RULE)


def test_the_keys_of_the_tests_are_different_ones() -> None:
    assert KEYS.keys() == {"alice.pub", "bob.pub", "carol.pub", "alice.key"}
    assert len({ALICE.public, BOB.public, CAROL.public}) == 3
