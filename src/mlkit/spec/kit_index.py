"""An index of kits: the variants of one kit under one name, told apart by labels.

The form is KitOps' ModelKit index: an OCI image index whose entries carry their labels in `modelMetadata`, names with
any JSON value, beside what the OCI specification gives them. What other tools wrote besides is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mlkit.errors import IntegrityError, LimitError, UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_json, parse_object, render_json
from mlkit.spec.manifest import LAYER_LIMIT, Index, parse_manifest
from mlkit.spec.media_types import KITOPS_INDEX_ARTIFACT, KITOPS_LABELS, KITOPS_TAG, OCI_INDEX

# As in KitOps: names as in Kubernetes, without its limits of length.
_DOMAIN = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_KEY = re.compile(rf"(?:{_DOMAIN}(?:\.{_DOMAIN})*/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_KEY_LIMIT = 256  # characters
_HINT = 'a label reads KEY=VALUE, KEY:=JSON such as \'gpuArchs:=["sm_80","sm_90"]\', or KEY- to take it away'


@dataclass(frozen=True, slots=True)
class Variant:
    """An entry of an index."""

    desc: Descriptor
    labels: Mapping[str, Any] = field(hash=False)
    """JSON values; where an entry has none of its own, the annotations, by which other tools tell entries apart."""
    value: Mapping[str, Any] = field(hash=False)
    """The entry as it was found."""

    @property
    def tag(self) -> str | None:
        """The tag that the kit had when it was entered, where the index tells."""
        return self.desc.annotations.get(KITOPS_TAG)

    def __str__(self) -> str:
        """Name and labels on one line of ASCII, of bounded length."""
        labels = ", ".join(f"{name}={label_text(self.labels[name])}" for name in sorted(self.labels))
        name = _shown(self.tag or str(self.desc.digest), 140)
        return f"{name} ({_shown(labels, 200)})" if labels else f"{name} (no labels)"


@dataclass(frozen=True)
class KitIndex:
    """The document; changes give a new one."""

    fields: Mapping[str, Any]
    """Everything but `manifests`."""
    variants: tuple[Variant, ...]

    @classmethod
    def empty(cls) -> KitIndex:
        return cls({"schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": KITOPS_INDEX_ARTIFACT}, ())

    @classmethod
    def parse(cls, raw: bytes, *, media_type: str | None = None, what: str = "index") -> KitIndex:
        """Raises: IntegrityError for what is no index, and for labels that are no mapping; LimitError."""
        found = parse_manifest(raw, media_type=media_type, what=what)
        if not isinstance(found, Index):
            raise IntegrityError(f"{what}: is a manifest, and no index")
        value = parse_object(raw, what=what)
        items = value.pop("manifests") or []
        variants = tuple(
            _variant(desc, item, f"{what}: manifests[{number}]")
            for number, (desc, item) in enumerate(zip(found.manifests, items, strict=True))
        )
        return cls(value, variants)

    @property
    def is_of_kits(self) -> bool:
        """Whether it says that it is an index of kits, and not of images or anything else."""
        return self.fields.get("artifactType") == KITOPS_INDEX_ARTIFACT

    @cached_property
    def raw(self) -> bytes:
        """The bytes; equal entries give equal bytes, in whatever order they came. Raises: LimitError."""
        if len(self.variants) > LAYER_LIMIT:
            raise LimitError(f"an index of {len(self.variants)} kits is more than the limit of {LAYER_LIMIT}")
        ordered = sorted(self.variants, key=lambda variant: variant.desc.digest)
        raw = render_json({**self.fields, "manifests": [dict(variant.value) for variant in ordered]})
        if len(raw) > MANIFEST_LIMIT:
            raise LimitError(f"an index of {len(raw)} bytes is more than the limit of {MANIFEST_LIMIT}")
        return raw

    @property
    def descriptor(self) -> Descriptor:
        """What the bytes are stored as."""
        return replace(Descriptor.of(self.raw, OCI_INDEX), artifact_type=KITOPS_INDEX_ARTIFACT)

    def get(self, digest: Digest) -> Variant | None:
        """The entry of a kit."""
        return next((variant for variant in self.variants if variant.desc.digest == digest), None)

    def with_kit(self, desc: Descriptor, edits: LabelEdits, *, tag: str | None) -> KitIndex:
        """With an entry for a kit, or with the labels of the one that there is changed."""
        before = self.get(desc.digest)
        value: dict[str, Any] = {**(before.value if before else {}), **desc.bare.render()}
        if desc.artifact_type is not None:
            value["artifactType"] = desc.artifact_type
        if tag is not None:
            value["annotations"] = {**(value.get("annotations") or {}), KITOPS_TAG: tag}
        labels = edits.applied(value.pop(KITOPS_LABELS, None) or {})
        if labels:
            value[KITOPS_LABELS] = labels
        others = tuple(variant for variant in self.variants if variant.desc.digest != desc.digest)
        return KitIndex(self.fields, (*others, _variant(Descriptor.parse(value), value, str(desc.digest))))

    def without(self, digest: Digest) -> KitIndex:
        """Without the entry of a kit."""
        return KitIndex(self.fields, tuple(variant for variant in self.variants if variant.desc.digest != digest))


@dataclass(frozen=True, slots=True)
class LabelEdits:
    """Labels to be set and labels to be taken away."""

    given: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> LabelEdits:
        """Read `KEY=VALUE` (text), `KEY:=JSON` and `KEY-` (take away). Raises: UsageError."""
        given: dict[str, Any] = {}
        removed: set[str] = set()
        for text in texts:
            name, separator, value = text.partition("=")
            is_json = separator != "" and name.endswith(":")
            key = name[:-1] if is_json or (not separator and name.endswith("-")) else name
            if not separator and key == name:
                raise UsageError(f"{_shown(text, 100)} is not a label", hint=_HINT)
            _check_key(key)
            if key in given or key in removed:
                raise UsageError(f"the label {key} is given twice", hint=_HINT)
            if not separator:
                removed.add(key)
            else:
                given[key] = _json(value, key) if is_json else value
        return cls(given, frozenset(removed))

    @classmethod
    def of(cls, given: Mapping[str, Any], removed: Iterable[str] = ()) -> LabelEdits:
        """Raises: UsageError for what is not the name of a label, and for a value that JSON cannot hold."""
        for key in given:
            _check_key(key)
        try:
            render_json(dict(given))
        except (TypeError, ValueError) as error:
            raise UsageError(f"labels hold what JSON cannot: {error}") from error
        return cls(dict(given), frozenset(removed))

    def applied(self, labels: Mapping[str, Any]) -> dict[str, Any]:
        """The labels with these changes."""
        return {name: value for name, value in {**labels, **self.given}.items() if name not in self.removed}


def label_text(value: Any) -> str:
    """A label as people write it: text as it is, any other value as JSON."""
    return value if isinstance(value, str) else render_json(value).decode("utf-8")


def _variant(desc: Descriptor, value: Mapping[str, Any], what: str) -> Variant:
    labels = value.get(KITOPS_LABELS)
    if labels is not None and not isinstance(labels, dict):
        raise IntegrityError(f"{what}: {KITOPS_LABELS} is not a mapping of labels")
    if not labels:
        labels = {name: text for name, text in desc.annotations.items() if name != KITOPS_TAG}
    return Variant(desc, labels, value)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key) or len(key) > _KEY_LIMIT:
        raise UsageError(f"{_shown(key, 100)} is not the name of a label", hint=_HINT)


def _json(text: str, key: str) -> Any:
    try:
        return parse_json(text.encode("utf-8"), what=f"the label {key}")
    except IntegrityError as error:
        raise UsageError(error.message, hint=_HINT) from error


def _shown(text: str, limit: int) -> str:
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
