"""Where images come from and go to, as people write it. Nothing here does I/O.

registry.example/team/server:1    a registry
oci:DIR[:TAG]                     an OCI image layout in a directory
docker-archive:FILE[:NAME]        one file, as `docker save` writes it
oci-archive:FILE[:TAG]            one file with an OCI image layout; a base only
scratch                           nothing; a base only
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlkit.content.index import is_name
from mlkit.errors import UsageError
from mlkit.spec.reference import Reference

Kind = Literal["registry", "layout", "docker-archive", "oci-archive", "scratch"]

_PREFIXES: dict[str, Kind] = {"oci": "layout", "docker-archive": "docker-archive", "oci-archive": "oci-archive"}
_TARGETS = "host/repository:tag, oci:DIR:TAG or docker-archive:FILE"


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """One of the places above."""

    kind: Kind
    text: str
    """As it was written."""
    reference: Reference | None = None
    """Of a registry."""
    path: Path | None = None
    """Of a directory or file."""
    name: str | None = None
    """The tag, or the name in an archive; None where none was given."""


def parse_base(text: str) -> ImagePlace:
    """What `--base` says. Raises: UsageError."""
    if text == "scratch":
        return ImagePlace("scratch", text)
    place = _parse(text)
    if place.reference is not None and place.reference.host is None:
        raise UsageError(
            f"{ascii(text)[:200]}: no registry host, and bases are not kept in the local store",
            hint=f"Docker Hub's images read docker.io/library/{place.reference}; oci:DIR, oci-archive:FILE, "
            "docker-archive:FILE and scratch are bases, too",
        )
    return place


def parse_target(text: str) -> ImagePlace:
    """What `--target` says. Raises: UsageError."""
    place = _parse(text)
    if place.kind == "oci-archive":
        raise UsageError(f"{text}: an oci-archive is a base only", hint=f"a target reads {_TARGETS}")
    if place.reference is not None and (place.reference.host is None or place.reference.digest is not None):
        raise UsageError(f"{ascii(text)[:200]}: is no place to write an image to", hint=f"a target reads {_TARGETS}")
    return place


def _parse(text: str) -> ImagePlace:
    prefix, colon, rest = text.partition(":")
    kind = _PREFIXES.get(prefix)
    if not colon or kind is None:
        return ImagePlace("registry", text, reference=Reference.parse(text))
    path, _, name = rest.partition(":")
    if not path:
        raise UsageError(f"{ascii(text)[:200]}: no file or directory after {prefix}:")
    if name and not is_name(name):
        raise UsageError(f"{ascii(name)[:200]} is no name of an image", hint="a name reads 1.2, or team/server:1.2")
    return ImagePlace(kind, text, path=Path(path), name=name or None)
