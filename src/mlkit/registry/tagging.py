"""What one tag points at, and moving it from there and from nowhere else."""

from __future__ import annotations

import hashlib

from mlkit.errors import ConflictError
from mlkit.registry.manifests import Manifests
from mlkit.registry.retry import RetryPolicy
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

SETTLING = 0.1
"""Seconds, many times what others need between their look at a tag and their writing of it."""


def tagged(manifests: Manifests, name: str, algorithm: str) -> Digest | None:
    """The digest of what a tag points at now, manifest or not; None where there is no such tag.

    Raises: AuthError, NetworkError, LimitError.
    """
    found = manifests.get(name)
    return None if found is None else _digest(found.raw, algorithm)


def replace_tag(manifests: Manifests, desc: Descriptor, raw: bytes, name: str, expected: Digest) -> None:
    """Let a tag point at a manifest if it points at `expected` now.

    A registry that gives ETags and heeds If-Match leaves no time between the look and the change; with others, whoever
    writes in that time is written over. Raises: ConflictError, and then the tag is as it was.
    """
    found = manifests.get(name)
    points_at = None if found is None else _digest(found.raw, expected.algorithm)
    if found is None or points_at != expected:
        raise tag_conflict(manifests.name, name, points_at, expected)
    etag = found.headers.get("ETag")
    try:
        manifests.put(desc, raw, name, condition={"If-Match": etag} if etag else {})
    except ConflictError as error:
        now = tagged(manifests, name, desc.digest.algorithm)
        # The answer to a first try got lost, and the second one found what the first one had written.
        if now != desc.digest:
            raise tag_conflict(manifests.name, name, now, expected) from error


def swap_tag(
    manifests: Manifests, policy: RetryPolicy, desc: Descriptor, raw: bytes, name: str, expected: Digest | None
) -> bool:
    """Let a tag point at a manifest if it points at `expected`, or at nothing where that is None; whether it does.

    A registry that heeds no conditions is asked again after a moment: whoever looked before this change has written
    by then.
    """
    try:
        if expected is not None:
            replace_tag(manifests, desc, raw, name, expected)
        elif tagged(manifests, name, desc.digest.algorithm) is None:
            manifests.put(desc, raw, name, condition={"If-None-Match": "*"})
        else:
            return False
    except ConflictError:
        return tagged(manifests, name, desc.digest.algorithm) == desc.digest
    policy.sleep(SETTLING + policy.wait(1))
    return tagged(manifests, name, desc.digest.algorithm) == desc.digest


def tag_conflict(repository: str, name: str, found: Digest | None, expected: Digest) -> ConflictError:
    """The error for a tag that does not point where it was expected to."""
    points = "there is no such tag" if found is None else f"it points at {found}"
    return ConflictError(
        f"{repository}:{name}: {points} (expected {expected})",
        hint="see what is there now, and name its digest, or leave the condition out",
    )


def _digest(raw: bytes, algorithm: str) -> Digest:
    return Digest.finished(hashlib.new(algorithm, raw))
