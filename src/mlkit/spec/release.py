"""Release records: which digest a channel was moved to, by whom, when and why. Values and their wire form only.

A record is the predicate of an in-toto Statement whose subject is the kit. `parse_release` reads it; the order of
records is that of their sequence numbers, never that of their times, which are what somebody's clock said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import is_reserved_tag

RELEASE_PREDICATE = "https://mlkit.dev/release/v1"
RELEASE_ARTIFACT = "application/vnd.mlkit.release.v1+json"
"""Artifact type of the manifest that holds a record."""
MARKS = "mlkit-marks"
"""The chain that `mark` writes to, where others have the name of a channel: a kit is good or bad in all channels."""

HISTORY_TAGS = "mlkit-history."
"""How every tag of a history begins; lists of kits leave such tags out."""

Action = Literal["promote", "rollback", "mark"]
Verdict = Literal["good", "bad"]
EVIDENCE_KINDS = ("signature", "checks", "scan", "policy")
EvidenceKind = Literal["signature", "checks", "scan", "policy"]

SEQUENCE_LIMIT = 9_999_999
"""Records of one channel: one a minute for nineteen years."""
_TEXT_LIMIT = 4096  # characters of a message or name; a record is fetched for each line of a history
_LIST_LIMIT = 1000  # of entries, marks and evidence; kits have tens
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)


def is_hidden_tag(tag: str) -> bool:
    """Whether lists of kits leave the tag out: signatures, referrers and histories have it, and people do not."""
    return is_reserved_tag(tag) or tag.startswith(HISTORY_TAGS)


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """An entry of the kit, as it was when the record was made."""

    id: str
    name: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody found out about a kit."""

    digest: Digest
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class EvidenceRef:
    """Something that was found on the kit and counted: the manifest of a signature or an attestation."""

    kind: EvidenceKind
    digest: Digest
    signed_by: tuple[str, ...] = ()
    """The names that the writer of the record has for the keys whose signature holds; empty: nobody he trusted."""


@dataclass(frozen=True, slots=True)
class Release:
    """One move of a channel, or one mark."""

    repository: str
    """Without its host: a registry may be moved to another one."""
    channel: str
    """`MARKS` for a mark."""
    action: Action
    sequence: int
    """1 for the first record of a channel, and one more for each."""
    previous: Digest | None
    """Digest of the record before it; None for the first."""
    to: Digest
    """What the channel points at from then on; of a mark, the kit."""
    from_: Digest | None
    """What the channel's tag pointed at until then; None where there was none."""
    at: str
    """RFC 3339, UTC, by the clock of whoever wrote it."""
    by: str
    message: str | None = None
    reference: str | None = None
    """What was typed to name the kit."""
    version: str | None = None
    """Version of the whole kit."""
    entries: tuple[EntryVersion, ...] = ()
    marks: tuple[Mark, ...] = ()
    required: tuple[EvidenceKind, ...] = ()
    """What had to be there."""
    evidence: tuple[EvidenceRef, ...] = ()
    reason: str | None = None
    """Why it was done without a person: what a probe said."""
    mlkit: str = ""
    """Version of mlkit."""

    @property
    def moment(self) -> datetime:
        """`at` as a time."""
        return datetime.fromisoformat(self.at.replace("Z", "+00:00"))

    def predicate(self) -> dict[str, Any]:
        """The JSON form; what is absent is left out."""
        value: dict[str, Any] = {
            "repository": self.repository,
            "channel": self.channel,
            "action": self.action,
            "sequence": self.sequence,
            "previous": _text(self.previous),
            "to": str(self.to),
            "from": _text(self.from_),
            "at": self.at,
            "by": self.by,
            "message": self.message,
            "reference": self.reference,
            "version": self.version,
            "entries": [_present({"id": e.id, "name": e.name, "version": e.version}) for e in self.entries],
            "marks": [{"digest": str(mark.digest), "verdict": mark.verdict} for mark in self.marks],
            "required": list(self.required),
            "evidence": [
                {"kind": found.kind, "digest": str(found.digest)}
                | ({"signedBy": list(found.signed_by)} if found.signed_by else {})
                for found in self.evidence
            ],
            "reason": self.reason,
            "mlkit": self.mlkit,
        }
        return {name: item for name, item in value.items() if item is not None and item != []}


def parse_release(predicate: Mapping[str, Any], *, what: str = "release record") -> Release:
    """Read a predicate; names that are not known are left alone. Raises: IntegrityError naming the field."""
    action = _choice(predicate, "action", get_args(Action), what)
    sequence = predicate.get("sequence")
    if type(sequence) is not int or not 1 <= sequence <= SEQUENCE_LIMIT:
        raise IntegrityError(f"{what}: sequence {ascii(sequence)[:50]} is not a number from 1 to {SEQUENCE_LIMIT}")
    previous = _digest(predicate, "previous", what)
    if (previous is None) != (sequence == 1):
        raise IntegrityError(f"{what}: record {sequence} {'has no' if previous is None else 'has a'} previous record")
    return Release(
        repository=_required(predicate, "repository", what),
        channel=_required(predicate, "channel", what),
        action=cast(Action, action),
        sequence=sequence,
        previous=previous,
        to=Digest.parse(predicate.get("to")),
        from_=_digest(predicate, "from", what),
        at=_at(predicate, what),
        by=_required(predicate, "by", what),
        message=_optional(predicate, "message", what),
        reference=_optional(predicate, "reference", what),
        version=_optional(predicate, "version", what),
        entries=tuple(
            EntryVersion(_required(item, "id", what), _optional(item, "name", what), _optional(item, "version", what))
            for item in _objects(predicate, "entries", what)
        ),
        marks=tuple(
            Mark(Digest.parse(item.get("digest")), cast(Verdict, _choice(item, "verdict", get_args(Verdict), what)))
            for item in _objects(predicate, "marks", what)
        ),
        required=tuple(
            cast(EvidenceKind, kind) for kind in _list(predicate, "required", what) if kind in EVIDENCE_KINDS
        ),
        evidence=tuple(
            EvidenceRef(
                cast(EvidenceKind, item["kind"]),
                Digest.parse(item.get("digest")),
                tuple(name for name in _list(item, "signedBy", what) if isinstance(name, str)),
            )
            for item in _objects(predicate, "evidence", what)
            if item.get("kind") in EVIDENCE_KINDS
        ),
        reason=_optional(predicate, "reason", what),
        mlkit=_optional(predicate, "mlkit", what) or "",
    )


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _present(value: dict[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in value.items() if text is not None}


def _optional(value: Mapping[str, Any], name: str, what: str) -> str | None:
    text = value.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > _TEXT_LIMIT:
        raise IntegrityError(f"{what}: {name} is not text of at most {_TEXT_LIMIT} characters")
    return text


def _required(value: Mapping[str, Any], name: str, what: str) -> str:
    text = _optional(value, name, what)
    if not text:
        raise IntegrityError(f"{what}: {name} is missing")
    return text


def _choice(value: Mapping[str, Any], name: str, choices: tuple[str, ...], what: str) -> str:
    text = value.get(name)
    if text not in choices:
        raise IntegrityError(f"{what}: {name} {ascii(text)[:50]} is none of {', '.join(choices)}")
    return str(text)


def _digest(value: Mapping[str, Any], name: str, what: str) -> Digest | None:
    try:
        return None if value.get(name) is None else Digest.parse(value[name])
    except IntegrityError as error:
        raise IntegrityError(f"{what}: {name}: {error.message}") from error


def _at(value: Mapping[str, Any], what: str) -> str:
    text = _required(value, "at", what)
    try:
        if _MOMENT.fullmatch(text):
            datetime.fromisoformat(text.replace("Z", "+00:00"))
            return text
    except ValueError:
        pass
    raise IntegrityError(f"{what}: at {ascii(text)[:50]} is not a time such as 2026-01-02T03:04:05Z")


def _list(value: Mapping[str, Any], name: str, what: str) -> list[Any]:
    items = value.get(name)
    if items is None:
        return []
    if not isinstance(items, list) or len(items) > _LIST_LIMIT:
        raise IntegrityError(f"{what}: {name} is not a list of at most {_LIST_LIMIT}")
    return items


def _objects(value: Mapping[str, Any], name: str, what: str) -> list[dict[str, Any]]:
    items = _list(value, name, what)
    if not all(isinstance(item, dict) for item in items):
        raise IntegrityError(f"{what}: {name} holds what is no object")
    return items
