"""In-toto statements: somebody says something about content that is named by its digest.

github.com/in-toto/attestation, spec/v1. What is said is the predicate, and its type tells how to read it. Version 0.1
has the same fields; it is read, since `cosign attest` still writes it (3.1), and never written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.descriptor import parse_annotations
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.media_types import KIT_DIGEST

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_READ = frozenset({STATEMENT_TYPE, "https://in-toto.io/Statement/v0.1"})
COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
"""Says of its subject that the signer stands for it, and no more."""
SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
MODEL_SIGNING = "https://model_signing/signature/v1.0"
SCAN = "https://mlkit.dev/attestations/scan/v1"
"""What a scan found: `verdict` is `clean`, `findings` or `unknown`, and only the first of them counts as clean."""

SHORT_NAMES: Mapping[str, str] = {
    "sign": COSIGN_SIGN,
    "slsaprovenance1": SLSA_PROVENANCE,
    "cyclonedx": CYCLONEDX,
    "model-signing": MODEL_SIGNING,
    "scan": SCAN,
}
"""What people write for a predicate type; cosign uses the same words."""

_SUBJECTS = 10_000  # a statement of one kit names one; a statement of everything that a build made names more
_TYPE_LIMIT = 1024  # characters of a predicate type
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Subject:
    """Content that a statement is about."""

    name: str
    """For people; what is meant is what the digest names."""
    digest: Digest
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of what."""

    subjects: tuple[Subject, ...]
    """A subject with digests of two algorithms stands here twice; one without any that mlkit knows, not at all."""
    predicate_type: str
    predicate: Mapping[str, Any] = field(hash=False)

    def names(self, digest: Digest) -> bool:
        """Whether the statement is about this content, perhaps among other content.

        The subject of model-signing is no artifact but its files; which kit they are of stands beside it, signed too.
        """
        return any(
            subject.digest == digest
            or (self.predicate_type == MODEL_SIGNING and subject.annotations.get(KIT_DIGEST) == str(digest))
            for subject in self.subjects
        )


def predicate_type_of(text: str) -> str:
    """The URI that a short name stands for, or `text` if it is a URI. Raises: IntegrityError."""
    found = SHORT_NAMES.get(text, text)
    if len(found) > _TYPE_LIMIT or not _URI.fullmatch(found):
        raise IntegrityError(f"{ascii(text)[:100]} is no type of predicate: neither a URI nor one of {_short()}")
    return found


def parse_statement(raw: bytes, *, what: str = "statement") -> Statement:
    """Read a statement of version 1 or 0.1. Raises: IntegrityError, LimitError."""
    value = parse_object(raw, what=what)
    kind = value.get("_type")
    if not isinstance(kind, str) or kind not in _READ:
        raise IntegrityError(f"{what}: {ascii(kind)[:100]} is not an in-toto statement of version 1 ({STATEMENT_TYPE})")
    kind = value.get("predicateType")
    if not isinstance(kind, str) or not kind or len(kind) > _TYPE_LIMIT:
        raise IntegrityError(f"{what}: predicateType is missing, too long or not text")
    predicate = value.get("predicate")
    if predicate is not None and not isinstance(predicate, dict):
        raise IntegrityError(f"{what}: predicate is not an object")
    return Statement(tuple(_subjects(value.get("subject"), what)), kind, predicate or {})


def render_statement(statement: Statement) -> bytes:
    """Canonical JSON: the same statement gives the same bytes."""
    return render_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [_rendered(subject) for subject in statement.subjects],
            "predicateType": statement.predicate_type,
            "predicate": statement.predicate,
        }
    )


def _rendered(subject: Subject) -> dict[str, Any]:
    value: dict[str, Any] = {"name": subject.name, "digest": {subject.digest.algorithm: subject.digest.hex}}
    if subject.annotations:
        value["annotations"] = dict(subject.annotations)
    return value


def _subjects(value: object, what: str) -> list[Subject]:
    if not isinstance(value, list) or not value:
        raise IntegrityError(f"{what}: subject is not a list of at least one")
    if len(value) > _SUBJECTS:
        raise LimitError(f"{what}: {len(value)} subjects (at most {_SUBJECTS})")
    return [subject for number, item in enumerate(value) for subject in _subject(item, f"{what}: subject[{number}]")]


def _subject(value: object, what: str) -> list[Subject]:
    if not isinstance(value, dict):
        raise IntegrityError(f"{what}: expected an object, found {type(value).__name__}")
    name = value.get("name", "")
    if name is not None and not isinstance(name, str):
        raise IntegrityError(f"{what}: name is not text")
    digests = parse_annotations(value.get("digest"), what=f"{what}: digest")
    if not digests:
        raise IntegrityError(f"{what}: has no digest")
    # Annotations of in-toto are any JSON; those that are text are of use here.
    extra = value.get("annotations")
    annotations = {key: text for key, text in extra.items() if isinstance(text, str)} if isinstance(extra, dict) else {}
    return [
        Subject(name or "", Digest.parse(f"{algorithm}:{hexadecimal}"), annotations)
        for algorithm, hexadecimal in digests.items()
        if algorithm in ("sha256", "sha512")
    ]


def _short() -> str:
    return ", ".join(SHORT_NAMES)
