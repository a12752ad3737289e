"""Descriptors: what some bytes are, how many, and their digest (OCI image specification, descriptor.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlkit.errors import IntegrityError
from mlkit.spec.digest import Digest

_MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to immutable bytes. `urls` of the specification are dropped on reading: they are never followed."""

    media_type: str
    digest: Digest
    size: int
    """Bytes."""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str | None = None
    platform: Mapping[str, Any] | None = field(default=None, hash=False)
    data: bytes | None = None
    """The bytes themselves, when the descriptor carries them; already checked against digest and size."""

    @classmethod
    def of(cls, content: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """The descriptor of bytes that are already in memory."""
        return cls(media_type, Digest.of(content), len(content), annotations or {})

    @classmethod
    def parse(cls, value: object, *, what: str = "descriptor") -> Descriptor:
        """Read the JSON form. Raises: IntegrityError naming `what` and the offending field."""
        if not isinstance(value, dict):
            raise IntegrityError(f"{what}: expected a descriptor, found {type(value).__name__}")
        media_type = value.get("mediaType")
        if not isinstance(media_type, str) or not media_type:
            raise IntegrityError(f"{what}: mediaType is missing or not text")
        digest = Digest.parse(value.get("digest"))
        size = value.get("size")
        # bool is an int in Python, and 1e3 arrives as a float: neither is a size.
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            raise IntegrityError(f"{what}: size {ascii(size)[:50]} is not a whole number of bytes")
        artifact_type = value.get("artifactType")
        if artifact_type is not None and not isinstance(artifact_type, str):
            raise IntegrityError(f"{what}: artifactType is not text")
        platform = value.get("platform")
        if platform is not None and not isinstance(platform, dict):
            raise IntegrityError(f"{what}: platform is not an object")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            annotations=parse_annotations(value.get("annotations"), what=what),
            artifact_type=artifact_type,
            platform=platform,
            data=_parse_data(value.get("data"), digest, size, what),
        )

    def render(self) -> dict[str, Any]:
        """The JSON form; absent fields are left out."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        if self.platform is not None:
            value["platform"] = dict(self.platform)
        if self.data is not None:
            value["data"] = base64.b64encode(self.data).decode("ascii")
        return value

    def with_annotations(self, changes: Mapping[str, str | None]) -> Descriptor:
        """A copy in which each named annotation has the given value, or is gone where the value is None."""
        merged = {**self.annotations, **changes}
        return replace(self, annotations={name: text for name, text in merged.items() if text is not None})

    @property
    def bare(self) -> Descriptor:
        """Only media type, digest and size: what identifies content."""
        return Descriptor(self.media_type, self.digest, self.size)


def parse_annotations(value: object, *, what: str) -> dict[str, str]:
    """A map of text to text; null counts as empty. Raises: IntegrityError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise IntegrityError(f"{what}: annotations are not a map of text to text")
    return value


def _parse_data(value: object, digest: Digest, size: int, what: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise IntegrityError(f"{what}: data is not text")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError(f"{what}: data is not base64") from error
    hasher = digest.hasher()
    hasher.update(data)
    if len(data) != size or Digest.finished(hasher) != digest:
        raise IntegrityError(f"{what}: data does not match {digest}")
    return data
