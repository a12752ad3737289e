"""Platforms of container images, as `os/architecture[/variant]` (OCI image specification, image-index.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.errors import IntegrityError, UsageError

_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}", re.ASCII)
# What `uname -m` says, as Go and therefore every image calls it.
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386", "i686": "386"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What an image runs on."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read what a person typed. Raises: UsageError."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
            raise UsageError(
                f"{ascii(text)[:100]} is not a platform", hint="a platform reads linux/amd64, or linux/arm/v7"
            )
        return cls(parts[0], _ALIASES.get(parts[1], parts[1]), parts[2] if len(parts) == 3 else None)

    @classmethod
    def of(cls, value: Mapping[str, Any], *, what: str) -> Platform:
        """Read the fields of an image's config, or of a platform in an index. Raises: IntegrityError."""
        os, architecture, variant = value.get("os"), value.get("architecture"), value.get("variant")
        for field, found in (("os", os), ("architecture", architecture), ("variant", variant or "none")):
            if not isinstance(found, str) or not _WORD.fullmatch(found):
                raise IntegrityError(f"{what}: {field} {ascii(found)[:50]} is no part of a platform")
        return cls(str(os), str(architecture), variant or None)

    def is_met_by(self, other: Platform) -> bool:
        """Whether an image for `other` is one for this platform: a variant that was not asked for does not matter."""
        return (self.os, self.architecture) == (other.os, other.architecture) and (
            self.variant in (None, other.variant) or _is_default(self.architecture, self.variant, other.variant)
        )

    def render(self) -> dict[str, str]:
        """The fields of a descriptor in an index."""
        fields = {"os": self.os, "architecture": self.architecture}
        return fields if self.variant is None else {**fields, "variant": self.variant}


DEFAULT = Platform("linux", "amd64")
"""Whoever builds on a laptop of another kind still serves on this one; and what is built does not depend on where."""


def _is_default(architecture: str, wanted: str | None, found: str | None) -> bool:
    # arm64 has one variant that everybody leaves out (containerd, platforms/database.go).
    return architecture == "arm64" and {wanted, found} == {"v8", None}
