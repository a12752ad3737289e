"""Names and space in the local store: tag, remove, prune; the first two also in a registry."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mlkit.api.cosign_tags import local_names
from mlkit.api.session import Session
from mlkit.content.layout import CONTROL
from mlkit.content.prune import PruneResult
from mlkit.content.prune import prune as prune_layout
from mlkit.content.uploads import Uploads
from mlkit.errors import UsageError
from mlkit.serving.scratch import SERVING, sweep
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.spec.simple_signing import cosign_tags

GRACE_SECONDS = 24 * 3600.0
"""Age below which content without a name is kept: another process may be about to name it."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """Names that now point at a kit."""

    digest: Digest
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """A name that is gone; its content stays until `prune`, or as long as another name holds it."""

    reference: str
    digest: Digest
    is_remote: bool
    names: tuple[str, ...] = ()
    """Names in the local store that still point at it."""


def tag(session: Session, source: Reference, destinations: Sequence[Reference], *, remote: bool = False) -> Tagged:
    """Give a kit further names. `remote`: in the registry, where source and destinations share a repository.

    Raises: NotFoundError; UsageError for destinations with a digest or, remotely, in another repository.
    """
    for destination in destinations:
        if destination.digest is not None:
            raise UsageError(f"{destination}: a new name has no digest")
        if remote and destination.name != source.name:
            raise UsageError(
                f"{destination}: is not in the repository {source.name}",
                hint="pull it, and push it to the other repository",
            )
    if remote:
        repository = session.registry(source)
        desc = repository.resolve(source.target)
        for destination in destinations:
            repository.tag(desc, destination.tag or "latest")
    else:
        desc = session.local(source)
        for destination in destinations:
            session.layout.tag(desc, destination.local_name)
    return Tagged(
        desc.digest, tuple(f"{destination.name}:{destination.tag or 'latest'}" for destination in destinations)
    )


def remove(session: Session, reference: Reference, *, remote: bool = False) -> Removed:
    """Take a name away, or, for a reference by digest, the manifest with all its names. Raises: NotFoundError."""
    if remote:
        repository = session.registry(reference)
        desc = repository.resolve(reference.target)
        if reference.digest is not None:
            repository.delete(desc)
        else:
            repository.untag(reference.tag or "latest")
        return Removed(str(reference), desc.digest, is_remote=True)
    desc = session.local(reference)
    if reference.digest is not None:
        session.layout.unrecord(desc)
    else:
        session.layout.untag(reference.local_name)
    left = sorted(name for name, other in session.layout.names().items() if other.digest == desc.digest)
    if not left:
        # What cosign's older tags hold belongs to this kit alone, and has no other name to be removed by.
        for tag in cosign_tags(desc.digest):
            for name in local_names(session.layout, tag):
                session.layout.untag(name)
    return Removed(str(reference), desc.digest, is_remote=False, names=tuple(left))


def prune(session: Session, *, dry_run: bool = False, grace_seconds: float = GRACE_SECONDS) -> PruneResult:
    """Delete the blobs of the local store that no name reaches and that are older than the grace.

    Uploads that nobody went on with for a week are forgotten too, and what servers kept of kits that are gone.
    """
    if not dry_run:
        Uploads(session.layout.root / CONTROL / "uploads").reap()
        sweep(session.layout.root / SERVING, keep=frozenset(desc.digest.hex for desc in session.layout.manifests()))
    return prune_layout(session.layout, grace_seconds=grace_seconds, now=time.time(), dry_run=dry_run)
