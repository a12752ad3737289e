"""Whether somebody whose key is given stands for a kit. "Verified" is said of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlkit.api.evidence import Evidence, Unusable, examine
from mlkit.api.session import Located, Session, Source
from mlkit.errors import IntegrityError, PolicyError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN, predicate_type_of
from mlkit.trust.keys import PublicKey, read_public_key


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked for on one manifest, and what was found."""

    reference: str
    digest: Digest
    """Of the manifest that was looked at; whoever uses the kit next names this digest, and not the tag."""
    source: Source
    predicate_type: str
    """What had to be said."""
    keys: dict[str, str]
    """By whom: the id of each key, by its name."""
    matched: tuple[Evidence, ...]
    """Statements of that type that name this digest and are signed by one of the keys."""
    others: tuple[Evidence, ...]
    """What else is attached: of other types, or by nobody known. It decides nothing."""
    unusable: tuple[Unusable, ...]
    unexamined: int

    @property
    def is_verified(self) -> bool:
        """Whether at least one statement matched."""
        return bool(self.matched)

    def require(self) -> None:
        """Raises: PolicyError where nothing matched, saying what is there instead."""
        if not self.is_verified:
            raise PolicyError(f"{self.reference}: not verified: {self._reason()}", hint=self._hint())

    def _reason(self) -> str:
        wanted = f"statement of type {self.predicate_type}" if self.predicate_type != COSIGN_SIGN else "signature"
        others = [one for one in self.others if one.statement.predicate_type == self.predicate_type]
        if others:
            return f"no {wanted} on {self.digest} is by {' or '.join(self.keys)} ({len(others)} by other keys)"
        if self.unusable:
            first = self.unusable[0]
            return f"no {wanted} on {self.digest}; {first.digest} is attached as one and is none: {first.reason}"
        known = sum(bool(one.signed_by) for one in self.others)
        told = f", though {known} of another type by these keys" if known else ""
        return f"no {wanted} on {self.digest}{told}"

    def _hint(self) -> str | None:
        if self.source == "local":
            return "this is the copy in the local store; --remote looks in the registry"
        return "`mlkit inspect` shows what is attached to it"


def verify(
    session: Session,
    reference: Reference,
    *,
    keys: Iterable[Path] = (),
    predicate_type: str = COSIGN_SIGN,
    remote: bool = False,
) -> Verification:
    """Look for statements of a type by the owners of `keys`, or of the setting `trusted_keys`, on one manifest.

    Nothing is raised where there is none: `Verification.require` does that.
    Raises: UsageError without keys, or for what is none; NotFoundError.
    """
    try:
        kind = predicate_type_of(predicate_type)
    except IntegrityError as error:
        raise UsageError(error.message) from error
    known = load_keys(tuple(keys) or session.settings.trusted_keys)
    if not known:
        raise UsageError("no key to verify with", hint="--key names one, or the setting trusted_keys")
    return verify_located(session, session.locate(reference, remote=remote), known, predicate_type=kind)


def verify_located(
    session: Session, located: Located, keys: dict[str, PublicKey], *, predicate_type: str = COSIGN_SIGN
) -> Verification:
    """Like `verify`, of what was found already; the digest that it was found under is the one that is verified."""
    found = examine(session, located, keys)
    matched = tuple(one for one in found.evidence if one.signed_by and one.statement.predicate_type == predicate_type)
    return Verification(
        reference=str(located.reference),
        digest=located.desc.digest,
        source=located.source,
        predicate_type=predicate_type,
        keys={name: key.key_id for name, key in keys.items()},
        matched=matched,
        others=tuple(one for one in found.evidence if one not in matched),
        unusable=found.unusable,
        unexamined=found.unexamined,
    )


def load_keys(paths: Iterable[Path]) -> dict[str, PublicKey]:
    """Public keys by the names of their files; of a key that is there twice, the first. Raises: UsageError."""
    found: dict[str, PublicKey] = {}
    for path in paths:
        key = read_public_key(path)
        if key not in found.values():
            found[str(path)] = key
    return found
