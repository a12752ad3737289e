"""`mlkit-policy.yaml` as people write it: what it may say, and everything that is wrong with one, by line.

A policy that cannot be read in full is not read at all: what is misspelt might have been the requirement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from mlkit.errors import IntegrityError, MlkitError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.kitfile_fields import Listed, source_text
from mlkit.spec.statement import COSIGN_SIGN, SCAN, predicate_type_of
from mlkit.spec.test_result import TEST_RESULT
from mlkit.spec.weight_formats import WEIGHT_FORMATS
from mlkit.spec.yaml_problems import line_of, problems_of, quoted, summary
from mlkit.spec.yaml_text import Loc, Problem, Scalar, read_yaml
from mlkit.trust.keys import PublicKey, load_public_key
from mlkit.trust.policy import Level, Policy, Requirement, Rule, Serialization, TrustedKey
from mlkit.trust.scopes import Scope

POLICY_SCHEMA_URL = "https://mlkit.dev/schemas/policy-v1.json"
_VERSION = 1
_KEYS = 100  # each is tried on every signature
_RULES = 1000
_THRESHOLD = 64  # as many signatures as are looked at
_HINT = "the keys of a policy are listed in docs/reference/policy.md"
_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))?",
    re.ASCII,
)

FORMATS = tuple(sorted({*WEIGHT_FORMATS.values()}))
"""Names that `serialization` may use."""

ReadKey = Callable[[str], bytes]
"""The text of a key file, by the path that stands in the policy."""


def _text(value: Any) -> Any:
    value = source_text(value)
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _moment(value: Any) -> datetime:
    text = source_text(value)
    if isinstance(text, str) and _MOMENT.fullmatch(text):
        try:
            found = datetime.fromisoformat(text.upper().replace(" ", "T"))
        except ValueError:
            pass
        else:
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    raise ValueError("expected a time such as 2026-01-31T12:00:00Z, or a day, which begins at midnight UTC")


def _span(value: Any) -> timedelta:
    found = _SPAN.fullmatch(str(source_text(value)))
    if found is None:
        raise ValueError("expected a span such as 90d, 12h or 2w")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _count(value: Any) -> int:
    number = value.value if isinstance(value, Scalar) else value
    if type(number) is not int or not 1 <= number <= _THRESHOLD:
        raise ValueError(f"expected a number from 1 to {_THRESHOLD}")
    return number


def _version(value: Any) -> Any:
    return value.value if isinstance(value, Scalar) else value


def _revoked(value: Any) -> bool:
    if isinstance(value, Scalar) and isinstance(value.value, bool):
        return value.value
    _moment(value)  # when it was is for people: whoever has the key can date a signature as he likes
    return True


def _scope(value: Any) -> Scope:
    return Scope.parse(_text(value))


def _predicate(text: str) -> str:
    try:
        predicate_type_of(text)
    except IntegrityError as error:
        raise ValueError(error.message) from error
    return text


def _format(value: Any) -> str:
    text = _text(value)
    if text not in FORMATS:
        raise ValueError(f"{quoted(text)} is no format of weights (expected one of {', '.join(FORMATS)})")
    return str(text)


Words = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}"})
]
Span = Annotated[
    timedelta, BeforeValidator(_span), WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,5}[smhdw]$"})
]
Count = Annotated[
    int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _THRESHOLD})
]
Revoked = Annotated[bool, BeforeValidator(_revoked), WithJsonSchema({"type": ["boolean", "string"]})]
ScopeText = Annotated[Any, BeforeValidator(_scope), WithJsonSchema({"type": "string", "minLength": 1})]
FormatName = Annotated[str, BeforeValidator(_format), WithJsonSchema({"enum": list(FORMATS)})]
PredicateType = Annotated[Words, AfterValidator(_predicate)]


class PolicySection(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class KeyEntry(PolicySection):
    """A public key: its text, or the file that holds it."""

    pem: Words | None = None
    file: Words | None = None
    """Relative to the policy."""
    not_before: Moment | None = None
    """The key does not count before."""
    not_after: Moment | None = None
    """The key does not count after, nor does what it signed before."""
    revoked: Revoked = False
    """true, or when: nothing that the key signed counts, whenever it says that it was signed."""


class RequireEntry(PolicySection):
    """A statement that must be attached to the kit: a signature, a clean scan, checks that passed, or any other."""

    type: Annotated[Literal["signature"], BeforeValidator(source_text)] | None = None
    predicate_type: PredicateType | None = Field(default=None, alias="predicateType")
    """A URI, or slsaprovenance1, cyclonedx, model-signing; for what scans and checks say, see `scan` and `checks`."""
    scan: Annotated[Literal["clean"], BeforeValidator(source_text)] | None = None
    checks: Annotated[Literal["passed"], BeforeValidator(source_text)] | None = None
    keys: Listed[Words] = ()
    """Names of the keys whose word counts; for scan and checks, those of the rule's signatures where none is named."""
    threshold: Count = 1
    """How many different keys must have said so."""
    max_age: Span | None = None
    """How long ago it may have been signed, for example 90d."""


class SerializationEntry(PolicySection):
    """Formats of weights, by the names of the files. `pickle` stands for every format that is or may be one."""

    allow: Listed[FormatName] | None = None
    """The files of the model must be in one of these, or be no weights."""
    deny: Listed[FormatName] = ()
    """No file of the kit may be in one of these."""


class RuleEntry(PolicySection):
    """What must hold for the kits of a scope."""

    scope: ScopeText
    """A repository such as registry.example/team/digits; * within a component, ** for any number of them."""
    level: Annotated[Literal["enforce", "audit", "skip"], BeforeValidator(source_text)] = "enforce"
    """enforce refuses a kit, audit only says so, skip does not look."""
    require: Listed[RequireEntry] = ()
    serialization: SerializationEntry | None = None
    licenses: Listed[Words] | None = None
    """SPDX identifiers: every licence that the Kitfile names must be among them."""
    not_older_than: Moment | None = None
    """Signatures that were made before do not count: an older release cannot come back."""


class PolicyFile(PolicySection):
    """Whose word counts, for which kits, and what must be said of them."""

    version: Annotated[Literal[1], BeforeValidator(_version)]
    keys: dict[str, KeyEntry] = Field(default_factory=dict)
    """By a name of your choice."""
    rules: Listed[RuleEntry]
    """The nearest scope decides; a kit that no rule is for is refused."""


def parse_policy(raw: bytes, *, what: str, read_key: ReadKey) -> Policy:
    """Read a policy with its keys; `what` names it in errors and reports.

    Raises: UsageError with every problem in it, each with its line; LimitError; what `read_key` raises.
    """
    document = read_yaml(raw, what=what)
    problems = list(document.problems)
    file = None
    if not isinstance(document.value, dict):
        found = "is empty" if document.value is None else "is not a mapping of keys to values"
        problems.append(Problem(document.lines.get((), 1), (), f"the file {found}"))
    else:
        try:
            file = PolicyFile.model_validate(document.value)
        except ValidationError as error:
            problems += problems_of(error, PolicyFile, document.lines)
    if file is not None:
        problems += [Problem(line_of(loc, document.lines), loc, message) for loc, message in _broken_rules(file)]
    if file is None or problems:
        raise UsageError(summary(problems, what=what), hint=_HINT)
    keys = _keys(file, what, read_key, document.lines)
    rules = tuple(
        _rule(entry, line_of(("rules", number, "scope"), document.lines)) for number, entry in enumerate(file.rules)
    )
    return Policy(what, Digest.of(raw), keys, rules)


def _broken_rules(file: PolicyFile) -> Iterator[tuple[Loc, str]]:
    """What is wrong between fields that are right by themselves."""
    if len(file.keys) > _KEYS:
        yield ("keys",), f"{len(file.keys)} keys (at most {_KEYS})"
    for name, key in file.keys.items():
        if (key.pem is None) == (key.file is None):
            yield ("keys", name), "needs either pem or file"
        if key.not_before and key.not_after and key.not_before > key.not_after:
            yield ("keys", name, "not_after"), "is before not_before"
    if not file.rules:
        yield ("rules",), "needs at least one rule"
    if len(file.rules) > _RULES:
        yield ("rules",), f"{len(file.rules)} rules (at most {_RULES})"
    first: dict[str, int] = {}
    for number, rule in enumerate(file.rules):
        loc: Loc = ("rules", number)
        owner = first.setdefault(rule.scope.text, number)
        if owner != number:
            yield (*loc, "scope"), f"{quoted(rule.scope.text)} is already the scope of rules[{owner}]"
        yield from _broken_rule(rule, loc, file.keys)


def _broken_rule(rule: RuleEntry, loc: Loc, keys: Mapping[str, KeyEntry]) -> Iterator[tuple[Loc, str]]:
    asks = bool(rule.require or rule.serialization or rule.licenses is not None)
    if rule.level == "skip":
        if not rule.scope.names_its_host:
            yield (*loc, "scope"), f"{quoted(rule.scope.text)} is too wide to skip: its first component has a wildcard"
        if asks or rule.not_older_than:
            yield loc, "requires something and is skipped"
    elif not asks:
        yield loc, "requires nothing (say what must hold, or let it be skipped)"
    if rule.licenses is not None and not rule.licenses:
        yield (*loc, "licenses"), "allows none"
    if rule.serialization and rule.serialization.allow is None and not rule.serialization.deny:
        yield (*loc, "serialization"), "needs allow or deny"
    has_signature = any(entry.type for entry in rule.require)
    if rule.not_older_than and not has_signature:
        yield (*loc, "not_older_than"), "is about signatures, and the rule requires none"
    for at, entry in enumerate(rule.require):
        yield from _broken_requirement(entry, (*loc, "require", at), keys, has_signature=has_signature)


def _broken_requirement(
    entry: RequireEntry, loc: Loc, keys: Mapping[str, KeyEntry], *, has_signature: bool
) -> Iterator[tuple[Loc, str]]:
    if sum(one is not None for one in (entry.type, entry.predicate_type, entry.scan, entry.checks)) != 1:
        yield loc, "needs one of type, predicateType, scan and checks"
        return
    if entry.predicate_type is not None and predicate_type_of(entry.predicate_type) in (SCAN, TEST_RESULT):
        yield (*loc, "predicateType"), "is there whatever it says: write `scan: clean` or `checks: passed`"
    if not entry.keys and not ((entry.scan or entry.checks) and has_signature):
        yield loc, "needs keys: whose word counts"
    for at, name in enumerate(entry.keys):
        if name not in keys:
            yield (*loc, "keys", at), f"there is no key {quoted(name)} (keys: {', '.join(keys) or 'none'})"
        if name in entry.keys[:at]:
            yield (*loc, "keys", at), f"{quoted(name)} is there twice"
    if entry.keys and entry.threshold > len(entry.keys):
        yield (*loc, "threshold"), f"{entry.threshold} of {len(entry.keys)} keys can never be"


def _keys(file: PolicyFile, what: str, read_key: ReadKey, lines: Mapping[Loc, int]) -> dict[str, TrustedKey]:
    keys: dict[str, TrustedKey] = {}
    problems = []
    for name, entry in file.keys.items():
        loc: Loc = ("keys", name)
        try:
            public = _public(name, entry, what, read_key)
        except MlkitError as error:
            problems.append(Problem(line_of(loc, lines), loc, error.message))
            continue
        # Counted by name, one key under two names would be two signers.
        twin = next((other.name for other in keys.values() if other.public.spki == public.spki), None)
        if twin is not None:
            problems.append(Problem(line_of(loc, lines), loc, f"is the same key as {quoted(twin)}"))
        keys[name] = TrustedKey(name, public, entry.not_before, entry.not_after, entry.revoked)
    if problems:
        raise UsageError(summary(problems, what=what), hint=_HINT)
    return keys


def _public(name: str, entry: KeyEntry, what: str, read_key: ReadKey) -> PublicKey:
    if entry.file is not None:
        return load_public_key(read_key(entry.file), what=entry.file)
    assert entry.pem is not None, "one of the two is there"
    return load_public_key(entry.pem.encode("utf-8"), what=f"{what}: {name}")


def _rule(entry: RuleEntry, line: int) -> Rule:
    signers = tuple(dict.fromkeys(name for one in entry.require if one.type for name in one.keys))
    level: Level = entry.level
    return Rule(
        scope=entry.scope,
        line=line,
        level=level,
        requirements=tuple(_requirement(one, signers) for one in entry.require),
        serialization=Serialization(entry.serialization.allow, entry.serialization.deny)
        if entry.serialization
        else None,
        licences=entry.licenses,
        not_older_than=entry.not_older_than,
    )


def _requirement(entry: RequireEntry, signers: tuple[str, ...]) -> Requirement:
    if entry.type is not None:
        title, predicate_type = "signature", COSIGN_SIGN
    elif entry.scan is not None:
        title, predicate_type = "scan", SCAN
    elif entry.checks is not None:
        title, predicate_type = "checks", TEST_RESULT
    else:
        assert entry.predicate_type is not None, "one of the four is there"
        title, predicate_type = entry.predicate_type, predicate_type_of(entry.predicate_type)
    return Requirement(
        title=title,
        predicate_type=predicate_type,
        keys=entry.keys or signers,
        threshold=entry.threshold,
        max_age=entry.max_age,
        must_be_good=predicate_type in (SCAN, TEST_RESULT),
    )
