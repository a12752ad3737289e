"""Lists of kits. Apart from the other questions, so that `mlkit list` imports nothing that reads Kitfiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlkit.api.session import Session
from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import CREATED, PARTIAL, TITLE, VERSION
from mlkit.spec.reference import Reference
from mlkit.spec.release import is_hidden_tag


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    reference: str
    version: str | None
    title: str | None
    size: int | None
    digest: Digest
    created: str | None
    is_partial: bool
    problem: str | None = None
    """Why its manifest cannot be read, and nothing but its name and digest is known."""


def list_local(session: Session, repository: str | None = None) -> tuple[Listed, ...]:
    """The kits of the local store, sorted by name; `repository` is a name with or without its host, or with a tag too.

    Raises: NotFoundError for a repository, or a tag, that is not there.
    """
    found = session.layout.names().items()
    names = {name: desc for name, desc in found if not is_hidden_tag(name.rpartition(":")[2])}
    chosen = sorted(name for name in names if repository in (None, name, name.rpartition(":")[0]))
    if repository is not None and not chosen:
        raise NotFoundError(
            f"{repository}: nothing of this name in the local store",
            hint="`mlkit list` shows what there is; of a registry, name a repository: host/repository",
        )
    return tuple(_listed(name, names[name], session.layout) for name in chosen)


def list_remote(session: Session, reference: Reference) -> tuple[Listed, ...]:
    """The kits of a remote repository, or the one that its tag names; manifests are fetched several at once."""
    repository = session.registry(reference)
    if reference.tag is not None:
        return (_listed(reference.local_name, repository.resolve(reference.tag), repository),)

    def listed(tag: str) -> Listed | None:
        try:
            desc = repository.resolve(tag)
        except NotFoundError:  # taken away since the tags were listed
            return None
        return _listed(f"{reference.name}:{tag}", desc, repository)

    tags = [tag for tag in repository.tags() if not is_hidden_tag(tag)]
    with ThreadPoolExecutor(session.settings.concurrency) as threads:
        return tuple(kit for kit in threads.map(listed, sorted(tags)) if kit is not None)


def manifest_size(document: Manifest | Index) -> int:
    """Bytes of a manifest and all that it lists."""
    if isinstance(document, Manifest):
        return document.size
    return len(document.raw) + sum(desc.size for desc in document.manifests)


def _listed(name: str, desc: Descriptor, store: ReadOnlyStorage) -> Listed:
    is_partial = desc.annotations.get(PARTIAL) == "true"
    try:
        raw = read_blob(store, desc.bare, limit=MANIFEST_LIMIT)
        document = parse_manifest(raw, media_type=desc.media_type, what=name)
    except (NotFoundError, IntegrityError, LimitError) as error:
        # One bad kit must not hide all others.
        return Listed(name, None, None, None, desc.digest, None, is_partial, problem=error.message)
    annotations = document.annotations
    return Listed(
        reference=name,
        version=annotations.get(VERSION),
        title=annotations.get(TITLE),
        size=manifest_size(document),
        digest=desc.digest,
        created=annotations.get(CREATED),
        is_partial=is_partial,
    )
