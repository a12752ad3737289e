"""Where registries differ from the specification, as data (D9).

What is known of a host decides how a blob is sent to it. Software that anyone runs under any name cannot be told by its
host; it is found out by what it answers, and is listed here for people (`docs/reference/registries.md`).
Sources: our own tests against docker-registry 2.8 and distribution 3; the documentation of each service; reports of its
users, as of 2026: GHCR refuses a PATCH of more than 4 MiB with 416; ECR answers 201 to a PATCH and its Range stands
still after the first; Artifact Registry documents that it takes monolithic uploads only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MIB = 1024 * 1024

_KEEPS = "keeps what arrived of a chunk: an upload that was cut resumes at that byte"


@dataclass(frozen=True, slots=True)
class Quirks:
    """What to expect of one registry. None: nobody has told us."""

    name: str = "any other"
    hosts: re.Pattern[str] | None = None
    """Its names without port; None for software that may stand anywhere."""
    is_chunked: bool = True
    """Whether a blob may arrive in several PATCH requests."""
    is_mounting: bool = True
    """Whether a blob can be taken over from another repository."""
    has_referrers: bool | None = None
    """Whether it lists referrers itself; without, they are kept under a tag, whoever writes them."""
    deletes: Literal["all", "manifests", "nothing"] | None = None
    """`manifests`: with all their tags, but no tag alone. Operators can switch deletion off everywhere."""
    note: str = ""


QUIRKS: tuple[Quirks, ...] = (
    Quirks(
        "GitHub Container Registry",
        re.compile(r"ghcr\.io"),
        is_chunked=False,
        has_referrers=False,
        deletes="nothing",
        note="refuses chunks of more than 4 MiB; versions are deleted in the web interface or by GitHub's own API",
    ),
    Quirks(
        "Google Artifact Registry and Container Registry",
        re.compile(r"([a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev"),
        is_chunked=False,
        has_referrers=True,
        note="takes blobs only whole",
    ),
    Quirks(
        "Amazon ECR",
        re.compile(r"[0-9]+\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?"),
        is_chunked=False,
        has_referrers=True,
        note="counts chunks wrong; mounts only where the account has switched it on, and what a manifest there names",
    ),
    Quirks(
        "Amazon ECR Public",
        re.compile(r"public\.ecr\.aws"),
        is_chunked=False,
        is_mounting=False,
        note="as Amazon ECR, and it grants no mounts",
    ),
    Quirks(
        "Docker Hub",
        re.compile(r"(registry-1\.|index\.)?docker\.io"),
        note="lists referrers since late 2025, by the reports of some",
    ),
    Quirks("Quay", re.compile(r"quay\.io"), has_referrers=True),
    Quirks(
        "docker-registry 2.8",
        has_referrers=False,
        deletes="manifests",
        note="loses an upload that is cut inside a chunk: the blob starts over; between chunks it resumes",
    ),
    Quirks("distribution 3", has_referrers=False, deletes="all", note=_KEEPS),
    Quirks("zot", has_referrers=True, note="ends an upload whose connection breaks: the blob starts over"),
    Quirks("Harbor", has_referrers=True, note="referrers since 2.9"),
    Quirks(
        "mlkit registry serve",
        has_referrers=True,
        deletes="all",
        note=_KEEPS,
    ),
)


def quirks_of(host: str) -> Quirks:
    """By `host[:port]`."""
    name = host.partition(":")[0].lower()
    known = (quirks for quirks in QUIRKS if quirks.hosts is not None and quirks.hosts.fullmatch(name))
    return next(known, Quirks())
