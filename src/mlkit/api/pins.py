"""References that name a tag and a digest, held to both."""

from __future__ import annotations

from dataclasses import replace

from mlkit.api.session import Session
from mlkit.errors import PolicyError, UsageError
from mlkit.spec.reference import Reference


def check_tag(session: Session, reference: Reference) -> None:
    """See that the tag of `repo:tag@digest` still points at the digest, in the registry or the local store.

    Raises: UsageError for a reference without both; PolicyError where the tag points elsewhere; NotFoundError.
    """
    if reference.tag is None or reference.digest is None:
        raise UsageError(f"{reference}: --strict compares a tag with a digest", hint="name both, as repo:tag@sha256:…")
    by_tag = replace(reference, digest=None)
    found = session.locate(by_tag, remote=reference.host is not None).desc.digest
    if found != reference.digest:
        raise PolicyError(f"{by_tag}: is {found} now, not {reference.digest}", hint="whoever moved the tag can say why")
