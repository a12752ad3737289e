"""Where registries differ from the specification, as data (D9); from their documentation and their users' reports."""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Quirks:
    """What to expect of one registry."""

    is_chunked: bool = True
    """Whether a blob may arrive in several PATCH requests."""
    is_mounting: bool = True
    """Whether a blob can be taken over from another repository."""


_TABLE: tuple[tuple[re.Pattern[str], Quirks], ...] = (
    (re.compile(r"ghcr\.io"), Quirks(is_chunked=False)),  # refuses PATCH of more than 4 MiB
    (re.compile(r"([a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev"), Quirks(is_chunked=False)),
    (re.compile(r"[0-9]+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|public\.ecr\.aws"), Quirks(is_chunked=False)),
)


def quirks_of(host: str) -> Quirks:
    """By `host[:port]`."""
    name = host.partition(":")[0]
    return next((quirks for pattern, quirks in _TABLE if pattern.fullmatch(name)), Quirks())
