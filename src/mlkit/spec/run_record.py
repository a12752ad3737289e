"""The record of a run: what a training script read and wrote, by digest, as it says itself.

It lies in `.mlkit/runs/NAME.json` of a project until the project is packed. Times are in it and stay out of the kit:
the same inputs give the same kit whenever they were used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json
from mlkit.spec.kit_document import FACTS_LIMIT, TEXT_LIMIT, InputRecord

RUNS = ".mlkit/runs"
"""Where a project keeps its records."""
RECORD_LIMIT = 16 * 1024 * 1024
"""Bytes; about 60,000 files."""
ITEM_LIMIT = 20_000
"""Files and kits that one run reads, and as many that it writes."""
SCHEMA_VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROLES = ("dataset", "base-model", "adapter-base", "code", "run", "other")
_OUTCOMES = ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Used:
    """Something that a run read."""

    role: str
    name: str
    """As the script said it: a path, a reference, a URI."""
    digest: Digest | None = None
    """Of the file, or of the kit's manifest; None for what could not be pinned."""
    ref: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Produced:
    """A file that a run wrote."""

    path: str
    """As the script said it."""
    digest: Digest
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The whole record."""

    name: str
    """Letters, digits, `.`, `_` and `-`, at most 100; the next run of the name takes its place."""
    started: str
    """RFC 3339, UTC."""
    ended: str
    outcome: Literal["succeeded", "failed"]
    uses: tuple[Used, ...] = ()
    produces: tuple[Produced, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> tuple[InputRecord, ...]:
        """What a kit that holds something of this run says of it; the same for runs that differ only in their times."""
        facts = {
            "run": self.name,
            **{f"parameter.{name}": text for name, text in self.parameters.items()},
            **{f"metric.{name}": text for name, text in self.metrics.items()},
        }
        own = InputRecord("run", name=self.name, digest=self._identity(), facts=tuple(sorted(facts.items())))
        of = (("run", self.name),)
        return own, *(
            InputRecord(used.role, used.ref, used.uri, used.digest, name=used.name, facts=of) for used in self.uses
        )

    def _identity(self) -> Digest:
        value = _json(self)
        return Digest.of(render_json({name: value[name] for name in value if name not in ("started", "ended")}))


def check_run_name(name: str) -> str:
    """`name`, if a run may have it: it becomes a file's. Raises: IntegrityError."""
    if not _NAME.fullmatch(name):
        raise IntegrityError(f"{ascii(name)[:120]} is no name of a run (letters, digits, '.', '_', '-', at most 100)")
    return name


def render_run_record(record: RunRecord) -> bytes:
    """JSON text for a file. Raises: LimitError for a record that would not be read again."""
    raw = render_json(_json(record)) + b"\n"
    counts = (len(record.uses), len(record.produces))
    facts = len(record.parameters) + len(record.metrics) + 1
    if len(raw) > RECORD_LIMIT or max(counts) > ITEM_LIMIT or facts > FACTS_LIMIT:
        raise LimitError(
            f"run {record.name}: {counts[0]} inputs, {counts[1]} outputs and {facts - 1} parameters and metrics are "
            f"more than a record holds ({ITEM_LIMIT}, {ITEM_LIMIT}, {FACTS_LIMIT - 1})",
            hint="name directories of many files as a kit: pack them, and use the reference",
        )
    return raw


def parse_run_record(raw: bytes, *, what: str) -> RunRecord:
    """Raises: IntegrityError for another shape; LimitError."""
    value = parse_object(raw, what=what, limit=RECORD_LIMIT)
    if value.get("schemaVersion") != SCHEMA_VERSION:
        raise IntegrityError(f"{what}: schemaVersion {ascii(value.get('schemaVersion'))[:20]} is not known")
    outcome = _choice(value, "outcome", _OUTCOMES, what)
    return RunRecord(
        name=check_run_name(_text(value, "name", what)),
        started=_text(value, "started", what),
        ended=_text(value, "ended", what),
        outcome="succeeded" if outcome == "succeeded" else "failed",
        uses=tuple(_used(item, f"{what}: uses") for item in _items(value, "uses", what)),
        produces=tuple(_produced(item, f"{what}: produces") for item in _items(value, "produces", what)),
        parameters=_texts(value, "parameters", what),
        metrics=_texts(value, "metrics", what),
    )


def _json(record: RunRecord) -> dict[str, Any]:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "name": record.name,
        "started": record.started,
        "ended": record.ended,
        "outcome": record.outcome,
        "uses": [
            {
                name: value
                for name, value in {
                    "role": used.role,
                    "name": used.name,
                    "digest": str(used.digest) if used.digest else None,
                    "ref": used.ref,
                    "uri": used.uri,
                }.items()
                if value is not None
            }
            for used in record.uses
        ],
        "produces": [{"path": made.path, "digest": str(made.digest), "size": made.size} for made in record.produces],
        "parameters": dict(record.parameters),
        "metrics": dict(record.metrics),
    }


def _used(item: dict[str, Any], what: str) -> Used:
    return Used(
        role=_choice(item, "role", _ROLES, what),
        name=_text(item, "name", what),
        digest=Digest.parse(item["digest"]) if item.get("digest") is not None else None,
        ref=_text(item, "ref", what) if item.get("ref") is not None else None,
        uri=_text(item, "uri", what) if item.get("uri") is not None else None,
    )


def _produced(item: dict[str, Any], what: str) -> Produced:
    size = item.get("size")
    if type(size) is not int or size < 0:
        raise IntegrityError(f"{what}: size {ascii(size)[:40]} is no number of bytes")
    return Produced(_text(item, "path", what), Digest.parse(item.get("digest")), size)


def _items(value: dict[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    items = value.get(key)
    if not isinstance(items, list) or any(not isinstance(item, dict) for item in items):
        raise IntegrityError(f"{what}: {key} is not a list of objects")
    if len(items) > ITEM_LIMIT:
        raise LimitError(f"{what}: {len(items)} {key} are more than the limit of {ITEM_LIMIT}")
    return items


def _texts(value: dict[str, Any], key: str, what: str) -> dict[str, str]:
    texts = value.get(key)
    if not isinstance(texts, dict):
        raise IntegrityError(f"{what}: {key} is not an object")
    if len(texts) >= FACTS_LIMIT:
        raise LimitError(f"{what}: {len(texts)} {key} are more than the limit of {FACTS_LIMIT - 1}")
    return {name: _text(texts, name, f"{what}: {key}") for name in texts}


def _text(value: dict[str, Any], key: str, what: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise IntegrityError(f"{what}: {ascii(key)[:60]} is missing or not text")
    if len(text) > TEXT_LIMIT or len(key) > TEXT_LIMIT:
        raise LimitError(f"{what}: {ascii(key)[:60]} is longer than {TEXT_LIMIT} characters")
    return text


def _choice(value: dict[str, Any], key: str, choices: tuple[str, ...], what: str) -> str:
    text = _text(value, key, what)
    if text not in choices:
        raise IntegrityError(f"{what}: {key} {ascii(text)[:40]} is none of {', '.join(choices)}")
    return text
