"""Policies at work: what is about to be used is held against the policy that is configured, by the digest it will have.

Whoever uses a kit (`pull`, `unpack`, `cat`, `serve`, `promote`, …) resolves its reference once, calls `enforce` with
what was found, and goes on with that and nothing else: a tag that moves meanwhile changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlkit.api.session import Located, Session, explained_trouble
from mlkit.errors import PolicyError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import INDEX_TYPES

# A session without a policy, which is most of them, pays for none of what reads one.
if TYPE_CHECKING:
    from mlkit.api.variants import Choice
    from mlkit.spec.reference import Reference
    from mlkit.trust.evaluate import Claim, Clock, Content
    from mlkit.trust.policy import Policy, Rule
    from mlkit.trust.policy_report import PolicyReport

_SHOWN_FAILURES = 3


def utc_now() -> datetime:
    """The clock that policies are held against."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Gate:
    """A policy, read once, for everything that one operation uses."""

    session: Session
    policy: Policy
    now: Clock = utc_now

    def report(self, located: Located, *, purpose: str, kits: Sequence[Located] = ()) -> PolicyReport:
        """Hold the policy against what a reference named; nothing is refused here.

        `kits` are those of an index that will be used; without them it is all that the index lists.
        Raises: what the stores raise; UnsafeError, IntegrityError for what is no kit where a rule asks for its files.
        """
        from mlkit.trust.evaluate import Facts, applying, evaluate

        rule = applying(self.policy, located.reference.name)
        wanted = [kit for kit in kits if kit.desc.digest != located.desc.digest] or list(self._kits(located))
        contents: dict[Digest, Content | None] = {kit.desc.digest: None for kit in wanted}
        claims: tuple[Claim, ...] = ()
        if not isinstance(rule, str) and rule.level != "skip":
            if rule.needs_content:
                contents = {kit.desc.digest: _content(kit) for kit in wanted}
            claims = tuple(self._claims(rule, located, wanted))
        facts = Facts(
            reference=str(located.reference),
            repository=located.reference.name,
            digest=located.desc.digest,
            kits=contents,
            claims=claims,
            purpose=purpose,
        )
        return evaluate(self.policy, facts, now=self.now)

    def check(self, located: Located, *, purpose: str, kits: Sequence[Located] = ()) -> PolicyReport:
        """Like `report`, for what is about to be used. Raises: PolicyError where the policy refuses it."""
        report = self.report(located, purpose=purpose, kits=kits)
        told = "; ".join(report.failures[:_SHOWN_FAILURES])
        if report.is_refused:
            raise PolicyError(
                f"{report.reference}: refused by the policy {report.policy}: {told}",
                hint=f"`mlkit policy explain {report.reference}` shows what was looked at",
            )
        if report.verdict == "noted":
            self.session.progress.warn(f"{report.reference}: does not meet the policy {report.policy} (audit): {told}")
        return report

    def _kits(self, located: Located) -> Iterator[Located]:
        """What an index lists; anything else by itself."""
        from mlkit.content.storage import read_blob
        from mlkit.spec.json_text import MANIFEST_LIMIT
        from mlkit.spec.kit_index import KitIndex

        if located.desc.media_type not in INDEX_TYPES:
            yield located
            return
        with explained_trouble(located):
            raw = read_blob(located.store, located.desc, limit=MANIFEST_LIMIT)
        index = KitIndex.parse(raw, media_type=located.desc.media_type, what=str(located.reference))
        if not index.is_of_kits or not index.variants:
            yield located
        else:
            yield from (replace(located, desc=variant.desc.bare) for variant in index.variants)

    def _claims(self, rule: Rule, located: Located, kits: Sequence[Located]) -> Iterator[Claim]:
        from mlkit.api.evidence import evidence_of
        from mlkit.trust.claims import claim_of

        if not rule.requirements:
            return
        names = {name for requirement in rule.requirements for name in requirement.keys}
        # Every key is tried, not only those that count: whose signature it is instead is worth saying.
        keys = {name: key.public for name, key in self.policy.keys.items()}
        assert names <= keys.keys(), "a policy names its own keys"
        others = kits if any(requirement.title != "signature" for requirement in rule.requirements) else ()
        asked = {kit.desc.digest: kit for kit in (located, *others)}
        for digest, kit in asked.items():
            for evidence in evidence_of(self.session, kit, keys):
                yield claim_of(evidence.digest, digest, evidence.statement, evidence.signed_by)


def gate_of(session: Session, *, now: Clock = utc_now) -> Gate | None:
    """The policy of this session, None where none is configured.

    Raises: NotFoundError, UnsafeError, UsageError for a policy that is configured and cannot be had: nothing is used
    then.
    """
    path = session.settings.policy
    if path is None:
        return None
    from mlkit.trust.policy_file import load_policy

    return Gate(session, load_policy(path), now)


def enforce(
    session: Session, located: Located, *, purpose: str, kits: Sequence[Located] = (), now: Clock = utc_now
) -> PolicyReport | None:
    """Before anything of a kit is used: that the configured policy allows it. None where no policy is configured.

    `located` is what the reference named; where that is an index, `kits` are those of it that will be used.
    Raises: PolicyError; what `gate_of` raises.
    """
    gate = gate_of(session, now=now)
    return None if gate is None else gate.check(located, purpose=purpose, kits=kits)


def explain(
    session: Session,
    reference: Reference,
    *,
    choice: Choice | None = None,
    remote: bool = False,
    purpose: str = "verify",
    now: Clock = utc_now,
) -> PolicyReport:
    """Which rule applies to what a reference names now, and what came of it; nothing is refused.

    Raises: UsageError where no policy is configured; NotFoundError; what `Gate.report` raises.
    """
    from mlkit.api.variants import choose_in

    gate = gate_of(session, now=now)
    if gate is None:
        raise UsageError("no policy is configured", hint="--policy FILE, MLKIT_POLICY, or the setting policy")
    located = session.locate(reference, remote=remote)
    chosen = choose_in(session, located, choice).located if choice is not None and choice.is_made else located
    return gate.report(located, purpose=purpose, kits=() if chosen is located else (chosen,))


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of policies."""
    from mlkit.trust import policy_schema as schema

    return schema.policy_schema()


def _content(located: Located) -> Content:
    from mlkit.packing.formats import licences_of, weight_formats
    from mlkit.packing.kit import load_kit
    from mlkit.trust.evaluate import Content

    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
    formats, unknown = weight_formats(kit)
    return Content(formats, unknown, licences_of(kit))
