"""Policy and facts in, report out. Nothing here does I/O; the clock is asked only where a policy names a time.

Absence is refusal: no rule for a repository, no statement, a time that is asked for and not told. What is said by many
counts as many only where the keys are different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mlkit.spec.digest import Digest
from mlkit.spec.licence_expression import is_allowed
from mlkit.trust.policy import Policy, Requirement, Rule, Serialization, TrustedKey
from mlkit.trust.policy_report import Check, Considered, PolicyReport, PolicyVerdict, RuleTold

CLOCK_SKEW = timedelta(minutes=5)
"""By how much two clocks may differ."""
_UNKNOWN = "nothing is known of its files"
_SHOWN = 5  # files or licences in one reason

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement that is attached to a kit, and whose signature holds for the keys in `signed_by`."""

    digest: Digest
    """Of the manifest that carries it."""
    subject: Digest
    """Of the kit or index that it is attached to."""
    is_about_subject: bool
    """Whether the statement itself names that digest."""
    predicate_type: str
    signed_by: tuple[str, ...]
    """Names of keys of the policy."""
    signed_at: datetime | None = None
    """As the statement says."""
    is_good: bool | None = None
    """Whether a scan found nothing, or all checks passed; None for statements of other types."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the documents of a kit tell, without its weights."""

    formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the format of each file of weights may be called, its own name first; by path."""
    unknown: tuple[str, ...] = ()
    """Files of the model whose name tells neither a format of weights nor that they hold none."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """By where it stands: `package.license`, `datasets[0].license`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of what a reference names."""

    reference: str
    repository: str
    digest: Digest
    kits: Mapping[Digest, Content | None]
    """The kit itself, or those of an index that are wanted; content only where the rule needs it."""
    claims: tuple[Claim, ...] = ()
    purpose: str = "verify"


def applying(policy: Policy, repository: str) -> Rule | str:
    """The rule for a repository, or why there is none: a policy that does not speak of a kit refuses it."""
    rules = policy.matching(repository)
    if not rules:
        return f"no rule of {policy.source} is for {repository}"
    if len(rules) > 1 and rules[0].scope.rank == rules[1].scope.rank:
        first, second = rules[:2]
        return (
            f"the scopes {first.scope.text} (line {first.line}) and {second.scope.text} (line {second.line}) of "
            f"{policy.source} are equally near to {repository}"
        )
    return rules[0]


def evaluate(policy: Policy, facts: Facts, *, now: Clock) -> PolicyReport:
    """Hold the policy against the facts."""
    rule = applying(policy, facts.repository)
    if isinstance(rule, str):
        return _report(policy, facts, None, "not met", (Check("rule", "a rule", facts.digest, False, rule),))
    if rule.level == "skip":
        return _report(policy, facts, rule, "skipped", ())
    checks = tuple(_checks(policy, rule, facts, now))
    if all(check.is_met for check in checks):
        return _report(policy, facts, rule, "met", checks)
    return _report(policy, facts, rule, "noted" if rule.level == "audit" else "not met", checks)


def _report(
    policy: Policy, facts: Facts, rule: Rule | None, verdict: PolicyVerdict, checks: tuple[Check, ...]
) -> PolicyReport:
    others = [other for other in policy.matching(facts.repository) if other is not rule]
    return PolicyReport(
        reference=facts.reference,
        digest=facts.digest,
        kits=tuple(facts.kits),
        purpose=facts.purpose,
        policy=policy.source,
        policy_digest=policy.digest,
        rule=_told(rule) if rule else None,
        others=tuple(map(_told, others)),
        verdict=verdict,
        is_verified=verdict == "met" and any(check.kind == "statement" for check in checks),
        checks=checks,
    )


def _told(rule: Rule) -> RuleTold:
    return RuleTold(rule.scope.text, rule.line, rule.level)


def _checks(policy: Policy, rule: Rule, facts: Facts, now: Clock) -> Iterator[Check]:
    for requirement in rule.requirements:
        if requirement.title == "signature":
            # What the reference named is what must be signed: a child that is signed says nothing of its index.
            yield _statement_check(policy, rule, requirement, facts, facts.digest, now)
        else:
            for kit in facts.kits:
                yield _statement_check(policy, rule, requirement, facts, kit, now)
    for kit, content in facts.kits.items():
        if rule.serialization is not None:
            yield _serialization_check(rule.serialization, kit, content)
        if rule.licences is not None:
            yield _licence_check(rule.licences, kit, content)


def _statement_check(
    policy: Policy, rule: Rule, requirement: Requirement, facts: Facts, kit: Digest, now: Clock
) -> Check:
    judged = [
        (claim, _judged(policy, rule, requirement, claim, now))
        for claim in facts.claims
        # A signed index answers for what it lists: a statement about it counts for each of its kits.
        if claim.predicate_type == requirement.predicate_type and claim.subject in (kit, facts.digest)
    ]
    if requirement.must_be_good:
        judged = _latest_decides(judged)
    evidence = tuple(considered for _, considered in judged)
    keys = {key for considered in evidence if considered.is_accepted for key in considered.keys}
    is_met = len(keys) >= requirement.threshold
    whose = _either(requirement.keys)
    wanted = (
        f"{requirement.title} by {whose}"
        if requirement.threshold == 1
        else (f"{requirement.title} by {requirement.threshold} of {', '.join(requirement.keys)}")
    )
    return Check("statement", wanted, kit, is_met, _statement_reason(requirement, evidence, keys, wanted), evidence)


def _statement_reason(requirement: Requirement, evidence: Sequence[Considered], keys: set[str], wanted: str) -> str:
    if len(keys) >= requirement.threshold:
        return f"{requirement.title} by {', '.join(sorted(keys))}"
    if not evidence:
        return f"there is no {wanted}"
    refused = list(dict.fromkeys(considered.reason for considered in evidence if considered.reason))
    found = f"only by {', '.join(sorted(keys))}" if keys else "none that counts"
    return f"{wanted} is required, and there is {found}" + (f" ({'; '.join(refused[:_SHOWN])})" if refused else "")


def _judged(policy: Policy, rule: Rule, requirement: Requirement, claim: Claim, now: Clock) -> Considered:
    keys, reason = _keys_that_count(policy, requirement, claim, now)
    if not claim.is_about_subject:
        keys, reason = (), "speaks of other content"
    elif keys:
        reason = _age_reason(rule, requirement, claim, now)
        if reason is None and requirement.must_be_good and claim.is_good is not True:
            wanted = "the kit is clean" if requirement.title == "scan" else "all passed"
            reason = f"does not say that {wanted}"
    return Considered(
        digest=claim.digest,
        subject=claim.subject,
        predicate_type=claim.predicate_type,
        keys=keys,
        signed_at=_rfc3339(claim.signed_at) if claim.signed_at else None,
        is_accepted=bool(keys) and reason is None,
        reason=reason,
    )


def _keys_that_count(
    policy: Policy, requirement: Requirement, claim: Claim, now: Clock
) -> tuple[tuple[str, ...], str | None]:
    """Those whose word counts, and why that of the others does not."""
    if not claim.signed_by:
        return (), "signed by nobody whom the policy knows"
    allowed = [name for name in claim.signed_by if name in requirement.keys]
    if not allowed:
        return (), f"signed by {', '.join(claim.signed_by)}, whose word does not count for this"
    reasons = {name: _key_reason(policy.keys[name], claim, now) for name in allowed}
    keys = tuple(name for name, reason in reasons.items() if reason is None)
    return keys, "; ".join(f"the key {name} {reason}" for name, reason in reasons.items() if reason is not None)


def _key_reason(key: TrustedKey, claim: Claim, now: Clock) -> str | None:
    """Why a key's word does not count. Both now and the time that is told must lie in its window: whoever stole a key
    can tell any time, so an old signature does not outlive the key that made it."""
    if key.is_revoked:
        return "is revoked"
    if key.not_before is None and key.not_after is None:
        return None
    for moment in (now(), claim.signed_at):
        if moment is not None and key.not_before is not None and moment < key.not_before - CLOCK_SKEW:
            return f"is not valid before {_rfc3339(key.not_before)}"
        if moment is not None and key.not_after is not None and moment > key.not_after + CLOCK_SKEW:
            return f"is not valid after {_rfc3339(key.not_after)}"
    return None


def _age_reason(rule: Rule, requirement: Requirement, claim: Claim, now: Clock) -> str | None:
    oldest = rule.not_older_than if requirement.title == "signature" else None
    if oldest is None and requirement.max_age is None:
        return None
    if claim.signed_at is None:
        return "does not say when it was signed"
    if oldest is not None and claim.signed_at < oldest:
        return f"was signed {_rfc3339(claim.signed_at)}, before {_rfc3339(oldest)}"
    if requirement.max_age is None:
        return None
    moment = now()
    if claim.signed_at > moment + CLOCK_SKEW:
        return f"says that it was signed {_rfc3339(claim.signed_at)}, which is in the future"
    if moment - claim.signed_at > requirement.max_age + CLOCK_SKEW:
        return f"was signed {_rfc3339(claim.signed_at)}, more than {_duration(requirement.max_age)} ago"
    return None


def _latest_decides(judged: list[tuple[Claim, Considered]]) -> list[tuple[Claim, Considered]]:
    """A kit that was good once is not, after a later scan or run by somebody whose word counts that found something."""
    against = [claim for claim, considered in judged if considered.keys and claim.is_good is False]
    if not against:
        return judged
    latest = (
        None
        if any(claim.signed_at is None for claim in against)
        else max(claim.signed_at for claim in against if claim.signed_at is not None)
    )
    return [
        (claim, considered)
        if not considered.is_accepted or (latest and claim.signed_at and claim.signed_at > latest)
        else (claim, _refused(considered, "another one, which is not older, found something"))
        for claim, considered in judged
    ]


def _refused(considered: Considered, reason: str) -> Considered:
    return replace(considered, is_accepted=False, reason=reason)


def _serialization_check(rule: Serialization, kit: Digest, content: Content | None) -> Check:
    is_met, reason = _formats(rule, content) if content is not None else (False, _UNKNOWN)
    return Check("serialization", "serialization", kit, is_met, reason)


def _formats(rule: Serialization, content: Content) -> tuple[bool, str]:
    denied = [
        f"{_name(path)} is {names[0]}"
        for path, names in content.formats.items()
        if not set(names).isdisjoint(rule.deny) or (rule.allow is not None and set(names).isdisjoint(rule.allow))
    ]
    if rule.allow is not None:
        denied += [f"{_name(path)} is of no format that is known" for path in content.unknown]
    if not denied:
        return True, "every file is in a format that is allowed"
    return False, f"{_some(denied)}, which the policy does not allow"


def _licence_check(allowed: tuple[str, ...], kit: Digest, content: Content | None) -> Check:
    is_met, reason = _licences(allowed, content) if content is not None else (False, _UNKNOWN)
    return Check("licence", "licences", kit, is_met, reason)


def _licences(allowed: tuple[str, ...], content: Content) -> tuple[bool, str]:
    if not content.licences:
        return False, "its Kitfile names no licence"
    others = [
        f"{where} is {ascii(text)[:100]}" for where, text in content.licences.items() if not is_allowed(text, allowed)
    ]
    if not others:
        return True, f"licensed under {', '.join(dict.fromkeys(content.licences.values()))}"
    return False, f"{_some(others)} (allowed: {', '.join(allowed)})"


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name(path: str) -> str:
    return ascii(path)[1:-1][:200]


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
