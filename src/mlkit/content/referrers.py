"""What refers to content, near and far: signatures, attestations, and what was said about those in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from mlkit.content.copy import CopyResult, copy
from mlkit.content.graph import document, is_document, walk
from mlkit.content.storage import BytesContent, ReadOnlyStorage, Target
from mlkit.errors import LimitError
from mlkit.progress import Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.limits import DEFAULT_LIST_LIMITS, raised_by

DEPTH_LIMIT = 10
"""Referrers of referrers: a signature on an attestation is two."""


class ReferredTo(ReadOnlyStorage, Protocol):
    """A store that knows what refers to its content; every Target is one."""

    def referrers(self, desc: Descriptor, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """See `Target.referrers`."""


def referring(
    store: ReferredTo,
    root: Descriptor,
    *,
    wanted: Callable[[Descriptor], bool] = lambda _: True,
    limit: int = DEFAULT_LIST_LIMITS.referrers,
) -> tuple[Descriptor, ...]:
    """All that refers to `root`, to a manifest below it, or to such a referrer: what is nearer first, each once.

    What refers only to manifests that are not `wanted` is left out, and these are not read.

    Raises: LimitError for more than `limit` of them or for chains beyond DEPTH_LIMIT; what the store raises.
    """
    seen: set[Digest] = set()
    found: list[Descriptor] = []
    level = _documents(store, root, seen, wanted)
    for depth in range(DEPTH_LIMIT + 1):
        following: list[Descriptor] = []
        for subject in level:
            for referrer in store.referrers(subject):
                if referrer.digest in seen:
                    continue
                if depth == DEPTH_LIMIT:
                    raise LimitError(f"{root.digest}: referrers of referrers more than {DEPTH_LIMIT} deep")
                if len(found) >= limit:
                    raise LimitError(f"{root.digest}: more than {limit} referrers", hint=raised_by("referrers"))
                found.append(referrer.bare)
                following += _documents(store, referrer.bare, seen)
        level = following
    return tuple(found)


def copy_referrers(
    source: ReferredTo,
    target: Target,
    root: Descriptor,
    *,
    wanted: Callable[[Descriptor], bool] = lambda _: True,
    limit: int = DEFAULT_LIST_LIMITS.referrers,
    concurrency: int = 4,
    progress: Progress | None = None,
    copied: Callable[[CopyResult], None] = lambda _: None,
) -> tuple[Descriptor, ...]:
    """Bring what refers to `root` to `target`, and see to it that `target` lists it; gives the referrers.

    Of an index, what refers to its `wanted` manifests comes along. `copied` is told of each.
    Raises: LimitError, and what the stores raise; what has arrived whole stays.
    """
    referrers = referring(source, root, wanted=wanted, limit=limit)
    listed: dict[Digest, set[Digest]] = {}
    for referrer in referrers:
        result = copy(source, target, referrer, concurrency=concurrency, progress=progress)
        copied(result)
        if referrer in result.present:
            _see_listed(source, target, referrer, listed)
    return referrers


def _documents(
    store: ReadOnlyStorage,
    root: Descriptor,
    seen: set[Digest],
    wanted: Callable[[Descriptor], bool] = lambda _: True,
) -> list[Descriptor]:
    """The manifests below and including `root` that were not seen yet, which now they are."""
    documents = [
        desc
        for desc, parsed in walk(store, root, wanted=lambda desc: is_document(desc) and wanted(desc))
        if parsed is not None and desc.digest not in seen
    ]
    seen.update(desc.digest for desc in documents)
    return documents


def _see_listed(
    source: ReadOnlyStorage, target: Target, referrer: Descriptor, listed: dict[Digest, set[Digest]]
) -> None:
    """Push a referrer once more where it is there and not listed: whoever pushed it died before it wrote the list."""
    found = document(source, referrer)
    if found.subject is None:
        return
    if found.subject.digest not in listed:
        listed[found.subject.digest] = {known.digest for known in target.referrers(found.subject.bare)}
    if referrer.digest not in listed[found.subject.digest]:
        target.push(referrer, BytesContent(found.raw))
