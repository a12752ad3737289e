"""Signatures under cosign's older tags: they refer to a kit by the tag's name alone, and go wherever the kit goes.

`sha256-HEX.sig` and `sha256-HEX.att` of the manifest, in its repository. In the local store they are names of the
kit's repository, and found whatever the repository is called: the digest in the tag says what they are about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlkit.api.moving import Movement, everything, explained_referrers, rehearsed
from mlkit.api.session import Session
from mlkit.content.copy import CopyResult, copy
from mlkit.content.graph import document, is_document, walk
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent, ReadOnlyStorage
from mlkit.errors import ConflictError, IntegrityError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import MANIFEST_LIMIT, render_json
from mlkit.spec.limits import DEFAULT_LIST_LIMITS
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import DSSE_ENVELOPE, INDEX_TYPES, SIMPLE_SIGNING
from mlkit.spec.simple_signing import cosign_tags

if TYPE_CHECKING:
    from mlkit.registry.mirrors import MirroredStore
    from mlkit.registry.store import RegistryStore

_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"  # what cosign gives its signatures
_RACES = 5
_MANIFESTS = 64  # of an index; each is asked for by two names


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a store, under which there are signatures or will be."""

    store: Layout | RegistryStore
    name: str


def carry(
    session: Session,
    source: Layout | RegistryStore | MirroredStore,
    target: Layout | RegistryStore,
    root: Descriptor,
    *,
    repository: str,
    wanted: Callable[[Descriptor], bool] = everything,
    dry_run: bool = False,
) -> Movement:
    """Bring the older signatures of a kit, and of the manifests of an index, to where it went.

    What is in the target's place stays there beside them. `repository` is what the kit is called in a local target.
    Raises: what the stores raise; ConflictError where others keep writing the same tag.
    """
    results: list[CopyResult] = []
    with explained_referrers():
        for tag, _, found in older_signatures(session, source, root, wanted):
            if dry_run:
                results.append(rehearsed(source, target.exists, found, everything))
                continue
            results.append(copy(source, target, found, progress=session.progress))
            place = Place(target, f"{repository}:{tag}" if isinstance(target, Layout) else tag)
            enter(place, found)
    return Movement(tuple(results), len(results))


def local_names(layout: Layout, tag: str) -> list[str]:
    """The names in a local store under which there are older signatures of one manifest."""
    return sorted(name for name in layout.names() if name.endswith(f":{tag}"))


def enter(place: Place, desc: Descriptor) -> None:
    """Let a name point at a manifest of signatures, or at what is there with these beside it."""
    before = place.store.find(place.name)
    if before is not None and before.digest == desc.digest:
        return
    if before is None and place.store.swap(desc.bare, place.name, expected=None):
        return
    add_layers(place, _layers(place.store, desc, place.name))


def signatures_under(
    store: ReadOnlyStorage, desc: Descriptor, *, limit: int = DEFAULT_LIST_LIMITS.statements
) -> Manifest | None:
    """What a tag of cosign's points at, if it holds signatures and nothing else, and not too many."""
    found = document(store, desc.bare)
    is_sound = (
        isinstance(found, Manifest)
        and 0 < len(found.layers) <= limit
        and all(layer.media_type in (SIMPLE_SIGNING, DSSE_ENVELOPE) for layer in found.layers)
        and all(blob.size <= MANIFEST_LIMIT for blob in (found.config, *found.layers))
    )
    return found if is_sound and isinstance(found, Manifest) else None


def add_layers(place: Place, layers: tuple[Descriptor, ...]) -> Descriptor:
    """Let the manifest under a name list these layers too, whose blobs are there; gives its descriptor.

    Raises: ConflictError where others keep writing it; IntegrityError where it is no manifest of signatures.
    """
    for _ in range(_RACES):
        before = place.store.find(place.name)
        known = _layers(place.store, before, place.name) if before is not None else ()
        added = tuple(layer for layer in layers if _key(layer) not in set(map(_key, known)))
        if before is not None and not added:
            return before
        manifest = _push(place, (*known, *added))
        if place.store.swap(manifest.descriptor, place.name, expected=before.digest if before else None):
            return manifest.descriptor
    raise ConflictError(f"{place.name}: others keep writing these signatures", hint="try again when they have finished")


def _push(place: Place, layers: tuple[Descriptor, ...]) -> Manifest:
    value: dict[str, Any] = {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
    }
    raw = render_json(value)
    config = Descriptor.of(raw, _IMAGE_CONFIG)
    place.store.push(config, BytesContent(raw))
    manifest = render_manifest(config=config, layers=layers)
    place.store.push(manifest.descriptor, BytesContent(manifest.raw))
    return manifest


def _layers(store: ReadOnlyStorage, desc: Descriptor, name: str) -> tuple[Descriptor, ...]:
    found = document(store, desc)
    if not isinstance(found, Manifest):
        raise IntegrityError(f"{name}: an index, where signatures are expected")
    return found.layers


def _key(layer: Descriptor) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Two signatures of one payload differ in their annotations alone."""
    return str(layer.digest), tuple(sorted(layer.annotations.items()))


def older_signatures(
    session: Session,
    source: Layout | RegistryStore | MirroredStore,
    root: Descriptor,
    wanted: Callable[[Descriptor], bool] = everything,
) -> Iterator[tuple[str, str, Descriptor]]:
    """Tag, name in the source, and manifest of the older signatures of a kit, and of the manifests of an index."""
    manifests = [root]
    if root.media_type in INDEX_TYPES:
        manifests = [desc for desc, _ in walk(source, root, wanted=lambda desc: is_document(desc) and wanted(desc))]
    # The root comes last in a walk, and is the one that counts.
    for manifest in manifests[: -_MANIFESTS - 1 : -1]:
        for tag in cosign_tags(manifest.digest):
            for name in local_names(source, tag) if isinstance(source, Layout) else (tag,):
                desc = source.find(name)
                if desc is None:
                    continue
                if signatures_under(source, desc, limit=session.settings.limits.statements) is None:
                    session.progress.warn(f"{name} holds something else than signatures, and stays where it is")
                    continue
                yield tag, name, desc.bare
