"""From registry to registry, without a stop on this machine."""

from __future__ import annotations

from mlkit.api.cosign_tags import carry
from mlkit.api.moving import Moved, check_condition, kit_size, move, move_tag
from mlkit.api.session import Session
from mlkit.errors import UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference


def copy(
    session: Session,
    source: Reference,
    destination: Reference,
    *,
    referrers: bool = True,
    if_match: Digest | None = None,
    dry_run: bool = False,
) -> Moved:
    """Copy what a reference names, kit or not, with what refers to it, from one repository into another.

    Bytes stream through memory, a block at a time; within one registry blobs are mounted where it allows that. The tag
    is that of `destination`, else that of `source`; a copy of a digest to a name without a tag is given none.
    Raises: NotFoundError; UsageError for a reference without a host, or for another digest than the source's;
    ConflictError where the tag is not at `if_match`, nor at this digest already.
    """
    # Within one registry what counts is that blobs can be mounted; a mirror cannot help there.
    origin = session.registry(source) if source.host == destination.host else session.remote(source)
    target = session.registry(destination)
    desc = origin.resolve(source.target).bare
    if destination.digest is not None and destination.digest != desc.digest:
        raise UsageError(f"{destination}: {source} has another digest, {desc.digest}")
    tag = destination.tag or (source.tag if source.tag or source.digest else "latest")
    if tag is None and if_match is not None:
        raise UsageError(f"{destination}: no tag that a condition could be put on")
    if tag is not None:
        check_condition(target, desc, tag, if_match)
    movement = move(session, origin, target, desc, referred=origin if referrers else None, dry_run=dry_run)
    if referrers:
        older = carry(session, origin, target, desc, repository=destination.name, dry_run=dry_run)
        movement = movement.and_of([older])
    replaced = None if tag is None else move_tag(target, desc, tag, if_match=if_match, dry_run=dry_run)
    shown = Reference(destination.host, destination.repository, tag, desc.digest if tag is None else None)
    return movement.moved(str(shown), kit_size(origin, desc), is_partial=False, dry_run=dry_run, replaced=replaced)
