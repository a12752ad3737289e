"""Indexes of kits: made, changed and listed in the local store; `push`, `pull` and `copy` move them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.api.session import Located, Session, explained_trouble
from mlkit.content.copy import missing
from mlkit.content.storage import BytesContent, read_blob
from mlkit.errors import ConflictError, NotFoundError, UsageError
from mlkit.packing.variants import nothing_of
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.kit_index import KitIndex, LabelEdits, Variant
from mlkit.spec.manifest import Manifest, parse_manifest
from mlkit.spec.media_types import INDEX_TYPES, ORIGIN, PARTIAL
from mlkit.spec.reference import Reference

_HINT = "`mlkit index create` makes an index"


@dataclass(frozen=True, slots=True)
class Indexed:
    """An index of the local store after a change."""

    reference: str
    digest: Digest
    replaced: Digest | None
    """What the name pointed at before, where that was something else."""
    kits: int
    twins: tuple[Digest, ...] = ()
    """Other kits of the index with the same labels as the one that was entered: no label tells them apart."""


@dataclass(frozen=True, slots=True)
class ListedVariant:
    """A kit that an index lists."""

    digest: Digest
    tag: str | None
    """The tag that it had when it was entered, where the index tells."""
    labels: Mapping[str, Any]
    size: int | None
    """Bytes of the whole kit; None where its manifest is not here."""
    is_local: bool
    """Whether all of it is in the local store."""


@dataclass(frozen=True, slots=True)
class ListedIndex:
    """An index with what it lists, in the order of the labels."""

    reference: str
    digest: Digest
    kits: tuple[ListedVariant, ...]


def create(session: Session, reference: Reference) -> Indexed:
    """Make an index without kits. Raises: ConflictError where the name is taken."""
    _check_name(reference)
    index = KitIndex.empty()
    session.layout.push(index.descriptor, BytesContent(index.raw))
    if not session.layout.swap(index.descriptor, reference.local_name, expected=None):
        raise ConflictError(
            f"{reference.local_name}: the local store has a kit or an index of this name",
            hint=f"`mlkit remove {reference.local_name}` takes the name away",
        )
    return Indexed(reference.local_name, index.descriptor.digest, None, 0)


def add(session: Session, reference: Reference, kit: Reference, edits: LabelEdits) -> Indexed:
    """Enter a kit in an index, or change the labels of one that is there; two who do so at once lose nothing.

    The kit is looked for in the local store, then in its registry; it is not fetched from there, and the index is
    partial then. Raises: NotFoundError; UnsafeError for what is no kit; UsageError for an index.
    """
    from mlkit.packing.kit import load_kit

    located = session.locate(kit)
    with explained_trouble(located):
        if located.desc.media_type in INDEX_TYPES:
            raise UsageError(f"{kit}: is an index, and an index lists kits", hint="name one of its kits by its digest")
        manifest = load_kit(located.store, located.desc).manifest
    tag = None if kit.digest is not None and kit.tag is None else kit.tag or "latest"
    entry = manifest.descriptor

    def change(index: KitIndex, annotations: Mapping[str, str]) -> tuple[KitIndex, str | None]:
        origin = _joined_origin(annotations.get(ORIGIN), located, reference)
        return index.with_kit(entry, edits, tag=tag), origin

    changed, index = _change(session, reference, change)
    added = index.get(entry.digest)
    assert added is not None, "it was entered just now"
    twins = tuple(other.desc.digest for other in index.variants if other.labels == added.labels and other is not added)
    return Indexed(changed.reference, changed.digest, changed.replaced, changed.kits, twins)


def remove(session: Session, reference: Reference, kit: Reference) -> Indexed:
    """Take a kit out of an index, by its name or its digest. Raises: NotFoundError, listing what there is."""

    def change(index: KitIndex, annotations: Mapping[str, str]) -> tuple[KitIndex, str | None]:
        return index.without(_meant(session, reference, kit, index).desc.digest), annotations.get(ORIGIN)

    return _change(session, reference, change)[0]


def show(session: Session, reference: Reference, *, remote: bool = False) -> ListedIndex:
    """What an index lists; one that is not in the local store is read from its registry. Raises: NotFoundError."""
    located = session.locate(reference, remote=remote)
    index = _read(located)
    variants = sorted(index.variants, key=lambda variant: (sorted(map(str, variant.labels.items())), str(variant)))
    kits = tuple(_listed(session, located, variant) for variant in variants)
    return ListedIndex(str(reference), located.desc.digest, kits)


def _change(
    session: Session,
    reference: Reference,
    change: Callable[[KitIndex, Mapping[str, str]], tuple[KitIndex, str | None]],
) -> tuple[Indexed, KitIndex]:
    """Put another index in the place of one, as often as it takes until nobody else did so meanwhile.

    `change` gets the index with the annotations of its entry in the store, and gives the new one with its origin.
    """
    _check_name(reference)
    layout, name = session.layout, reference.local_name
    while True:
        before = session.find_local(reference)
        if before is None:
            raise NotFoundError(f"{name}: no such index in the local store", hint=_HINT)
        index, origin = change(_read(session.here(reference, before)), before.annotations)
        desc = index.descriptor
        layout.push(desc, BytesContent(index.raw))
        is_partial = bool(missing(layout, desc))
        entry = desc.with_annotations({ORIGIN: origin, PARTIAL: "true" if is_partial else None})
        if layout.swap(entry, name, expected=before.digest):
            replaced = before.digest if before.digest != desc.digest else None
            return Indexed(name, desc.digest, replaced, len(index.variants)), index


def _check_name(reference: Reference) -> None:
    if reference.digest is not None:
        raise UsageError(f"{reference}: an index that changes has a name, and no digest")


def _read(located: Located) -> KitIndex:
    reference, desc = located.reference, located.desc
    if desc.media_type not in INDEX_TYPES:
        raise UsageError(f"{reference}: is one kit, and no index", hint=_HINT)
    with explained_trouble(located):
        raw = read_blob(located.store, desc, limit=MANIFEST_LIMIT)
    index = KitIndex.parse(raw, media_type=desc.media_type, what=str(reference))
    if not index.is_of_kits:
        raise UsageError(f"{reference}: is an index, but not of kits", hint=_HINT)
    return index


def _joined_origin(origin: str | None, located: Located, reference: Reference) -> str | None:
    """The repository that has what the store lacks of an index. Raises: UsageError where it would be two."""
    kits_own = located.reference.name if located.source == "remote" else located.desc.annotations.get(ORIGIN)
    is_here = located.source == "local" and not located.is_partial
    if is_here or kits_own is None or origin in (None, kits_own):
        return origin or kits_own
    raise UsageError(
        f"{located.reference}: is not wholly here, and {reference} has the rest of its kits in {origin}",
        hint=f"`mlkit pull {located.reference}` first",
    )


def _meant(session: Session, reference: Reference, kit: Reference, index: KitIndex) -> Variant:
    digest = kit.digest
    if digest is None:
        found = session.find_local(kit)
        digest = None if found is None else found.digest
    variant = index.get(digest) if digest is not None else None
    if variant is None and kit.digest is None and kit.name == reference.name:
        # A kit whose name is gone, or is another kit's by now, goes by the tag it was entered under.
        named = [one for one in index.variants if one.tag == (kit.tag or "latest")]
        variant = named[0] if len(named) == 1 else None
    if variant is None:
        raise nothing_of(index, f"{reference}: the index does not list {kit}")
    return variant


def _listed(session: Session, located: Located, variant: Variant) -> ListedVariant:
    desc = variant.desc
    is_here = session.layout.exists(desc)
    size = None
    # What is not here of a local index stays where it is: a list needs no network.
    if is_here or located.source == "remote":
        raw = read_blob(located.store, desc, limit=MANIFEST_LIMIT)
        found = parse_manifest(raw, media_type=desc.media_type, what=str(desc.digest))
        size = found.size if isinstance(found, Manifest) else None
    is_local = is_here and not missing(session.layout, desc)
    return ListedVariant(desc.digest, variant.tag, variant.labels, size, is_local)
