"""Lists of kits. Apart from the other questions, so that `mlkit list` imports nothing that reads Kitfiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlkit.api.session import Session
from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import CREATED, PARTIAL, TITLE, VERSION
from mlkit.spec.reference import Reference


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    reference: str
    version: str | None
    title: str | None
    size: int
    digest: Digest
    created: str | None
    is_partial: bool


def list_local(session: Session, repository: str | None = None) -> tuple[Listed, ...]:
    """The kits of the local store, sorted by name; `repository` is a name with or without its host."""
    names = session.layout.names()
    chosen = sorted(name for name in names if repository is None or name.rpartition(":")[0] == repository)
    return tuple(_listed(name, names[name], session.layout) for name in chosen)


def list_remote(session: Session, reference: Reference) -> tuple[Listed, ...]:
    """The kits of a remote repository; manifests are fetched several at once."""
    repository = session.registry(reference)

    def listed(tag: str) -> Listed:
        return _listed(f"{reference.name}:{tag}", repository.resolve(tag), repository)

    tags = [tag for tag in repository.tags() if not tag.startswith(("sha256-", "sha512-"))]
    with ThreadPoolExecutor(session.settings.concurrency) as threads:
        return tuple(threads.map(listed, sorted(tags)))


def manifest_size(document: Manifest | Index) -> int:
    """Bytes of a manifest and all that it lists."""
    if isinstance(document, Manifest):
        return document.size
    return len(document.raw) + sum(desc.size for desc in document.manifests)


def _listed(name: str, desc: Descriptor, store: ReadOnlyStorage) -> Listed:
    document = parse_manifest(read_blob(store, desc.bare, limit=MANIFEST_LIMIT), media_type=desc.media_type, what=name)
    annotations = document.annotations
    return Listed(
        reference=name,
        version=annotations.get(VERSION),
        title=annotations.get(TITLE),
        size=manifest_size(document),
        digest=desc.digest,
        created=annotations.get(CREATED),
        is_partial=desc.annotations.get(PARTIAL) == "true",
    )
