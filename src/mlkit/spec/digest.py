"""Digests: `algorithm:hex`, as in the OCI image specification, descriptor.md, section "Digests"."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlkit.errors import IntegrityError

if TYPE_CHECKING:
    from hashlib import _Hash

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_SHAPE = re.compile(r"(sha256|sha512):([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest of a registered algorithm (sha256 or sha512); one in hand is always well formed.

    Safe as a path component and in a URL: `hex` holds nothing but lower-case hexadecimal of the right length.
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read `sha256:…` or `sha512:…`. Raises: IntegrityError for anything else, whatever its type."""
        found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
        if found is None or len(found[2]) != _HEX_LENGTH[found[1]]:
            raise IntegrityError(
                f"{_shown(text)} is not a digest (expected sha256: or sha512: and lower-case hexadecimal)"
            )
        return cls(found[1], found[2])

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview) -> Digest:
        """The sha256 of bytes that are already in memory."""
        return cls("sha256", hashlib.sha256(content).hexdigest())

    @classmethod
    def finished(cls, hasher: _Hash) -> Digest:
        """The digest that a hasher made by `hashlib` has come to."""
        return cls(hasher.name, hasher.hexdigest())

    def hasher(self) -> _Hash:
        """A fresh hasher of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, for people's eyes only."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def _shown(value: object) -> str:
    """At most 100 characters of a hostile value, control characters escaped."""
    text = ascii(value)
    return text if len(text) <= 100 else text[:97] + "..."
