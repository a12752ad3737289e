"""What content points at: manifests and the blobs below them. Reads documents only, never a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import IntegrityError, LimitError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import INDEX_TYPES, MANIFEST_TYPES

DEPTH_LIMIT = 4
"""Indexes inside indexes; nobody nests more than two, and a hostile graph must end."""


def is_document(desc: Descriptor) -> bool:
    """Whether the content is a manifest or an index by its media type, and so may point at more."""
    return desc.media_type in MANIFEST_TYPES or desc.media_type in INDEX_TYPES


def document(store: ReadOnlyStorage, desc: Descriptor) -> Manifest | Index:
    """The manifest or index, verified and parsed. Raises: NotFoundError, IntegrityError, LimitError."""
    return parse_manifest(
        read_blob(store, desc, limit=MANIFEST_LIMIT), media_type=desc.media_type, what=str(desc.digest)
    )


def children(store: ReadOnlyStorage, desc: Descriptor) -> tuple[Descriptor, ...]:
    """What `desc` is made of: config and layers of a manifest, manifests of an index, nothing for any other content."""
    return below(document(store, desc)) if is_document(desc) else ()


def below(found: Manifest | Index) -> tuple[Descriptor, ...]:
    """What a parsed document is made of, in its order. The subject is not part of it."""
    return (found.config, *found.layers) if isinstance(found, Manifest) else found.manifests


def walk(
    store: ReadOnlyStorage, root: Descriptor, *, wanted: Callable[[Descriptor], bool] = lambda _: True
) -> Iterator[tuple[Descriptor, Manifest | Index | None]]:
    """Everything below and including `root`, children before parents, each digest once, with the parsed documents.

    What is not `wanted` is neither read nor given. Layers are never parsed, whatever they claim to be.
    Raises: LimitError below DEPTH_LIMIT; IntegrityError where one digest is given two sizes, or is a document in one
    place and a blob in another (B12); NotFoundError for a document that is absent.
    """
    seen: dict[Digest, _Role] = {}
    yield from _walk(store, root, wanted, seen, depth=0, role=_role(root, seen, may_be_document=True))


def described_referrer(found: Manifest | Index) -> Descriptor:
    """The descriptor by which a referrer is listed: with its own artifact type and annotations.

    Distribution specification, "Listing Referrers": without an artifactType the config's media type stands in.
    """
    kind = found.artifact_type or (found.config.media_type if isinstance(found, Manifest) else None)
    return replace(found.descriptor, annotations=dict(found.annotations), artifact_type=kind)


_Role = tuple[bool, int]
"""Whether some content is walked as a document, and its size."""


def _walk(
    store: ReadOnlyStorage,
    desc: Descriptor,
    wanted: Callable[[Descriptor], bool],
    seen: dict[Digest, _Role],
    *,
    depth: int,
    role: _Role,
) -> Iterator[tuple[Descriptor, Manifest | Index | None]]:
    if not role[0]:
        yield desc, None
        return
    if depth > DEPTH_LIMIT:
        raise LimitError(f"{desc.digest}: indexes nested deeper than {DEPTH_LIMIT} levels")
    found = document(store, desc)
    for child in below(found):
        if wanted(child):
            is_new = child.digest not in seen
            role = _role(child, seen, may_be_document=isinstance(found, Index))
            if is_new:
                yield from _walk(store, child, wanted, seen, depth=depth + 1, role=role)
    yield desc, found


def _role(desc: Descriptor, seen: dict[Digest, _Role], *, may_be_document: bool) -> _Role:
    role = (may_be_document and is_document(desc), desc.size)
    if seen.setdefault(desc.digest, role) != role:
        raise IntegrityError(
            f"{desc.digest}: listed in two places with different sizes, or once as a manifest and once as a blob"
        )
    return role
