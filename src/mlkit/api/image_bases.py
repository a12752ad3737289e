"""The base of an image, wherever it is: a registry, a layout, an archive, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlkit.api.session import Session
from mlkit.content.graph import document
from mlkit.content.layout import Layout
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import ReadOnlyStorage, read_blob
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, StoreError, UsageError
from mlkit.serving.image_base import BaseImage, check_image, choose_platforms, images_of, parse_base, scratch
from mlkit.serving.image_places import ImagePlace
from mlkit.serving.image_platform import DEFAULT, Platform
from mlkit.serving.image_tar import TarStore
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, parse_manifest
from mlkit.spec.media_types import OCI_INDEX, REF_NAME

ALL = "all"
"""The platforms of a base, each and every one."""


@dataclass(frozen=True, slots=True)
class Bases:
    """The images to build on, one for each platform, and where their layers are."""

    images: tuple[BaseImage, ...]
    store: ReadOnlyStorage
    name: str | None
    """What an image says about its base; None for one that has no name elsewhere."""
    digest: Digest | None
    repository: str | None
    """`host/repository` of a registry."""
    others: tuple[Platform, ...] = ()
    """Platforms that the base has, and that nobody asked for."""


def open_base(session: Session, place: ImagePlace, platforms: Sequence[Platform] | str | None) -> Bases:
    """Find a base. `platforms`: those that are wanted, ALL, or None for the default one.

    Raises: NotFoundError, AuthError, NetworkError; UsageError for a base that has no image for a platform, or is none;
    UnsafeError for layers that are kept elsewhere; IntegrityError.
    """
    if place.kind == "scratch":
        if platforms == ALL:
            raise UsageError("scratch is of every platform", hint="--platform names those that the image is for")
        wanted = [one for one in platforms or (DEFAULT,) if isinstance(one, Platform)]
        other = next((one for one in wanted if one.os != "linux"), None)
        if other is not None:
            raise UsageError(f"{other}: only images for Linux are built")
        images = tuple(scratch(one) for one in dict.fromkeys(wanted))
        return Bases(images, MemoryStore(), None, None, None)
    if place.kind == "registry":
        assert place.reference is not None, "a base in a registry has a reference"
        store = session.remote(place.reference)
        desc = store.resolve(place.reference.target).bare
        name = f"{place.reference.name}:{place.reference.tag}" if place.reference.tag else place.reference.name
        return _open(
            store, desc, platforms, what=place.text, name=name, repository=session.registry(place.reference).name
        )
    assert place.path is not None, "other bases have a path"
    if place.kind == "layout":
        layout, desc = _in_layout(place.path, place.name)
        return _open(layout, desc, platforms, what=place.text)
    archive = TarStore(place.path)
    if place.kind == "oci-archive":
        return _open(archive, _in_archive(archive, place.name), platforms, what=place.text)
    config, layers = archive.docker_image(place.name)
    image = parse_base(config, layers, what=place.text)
    return Bases(_chosen({image.platform: image}, platforms, place.text), archive, None, None, None)


def _open(
    store: ReadOnlyStorage,
    desc: Descriptor,
    platforms: Sequence[Platform] | str | None,
    *,
    what: str,
    name: str | None = None,
    repository: str | None = None,
) -> Bases:
    found = document(store, desc)
    if not isinstance(found, Index):
        image = _image(store, desc, what)
        return Bases(_chosen({image.platform: image}, platforms, what), store, name, desc.digest, repository)
    listed = images_of(found, what=what)
    wanted = list(listed) if platforms == ALL else choose_platforms(list(listed), _asked(platforms), what=what)
    images = tuple(_image(store, listed[one].bare, what, expected=one) for one in wanted)
    others = tuple(one for one in listed if one not in wanted)
    return Bases(images, store, name, desc.digest, repository, others)


def _image(store: ReadOnlyStorage, desc: Descriptor, what: str, *, expected: Platform | None = None) -> BaseImage:
    manifest = document(store, desc)
    if isinstance(manifest, Index):
        raise UsageError(f"{what}: an index of indexes is no base")
    check_image(manifest, what=what)
    raw = read_blob(store, manifest.config, limit=MANIFEST_LIMIT)
    image = parse_base(raw, manifest.layers, what=what)
    if expected is not None and not expected.is_met_by(image.platform):
        raise IntegrityError(f"{what}: {desc.digest} is for {image.platform}, and listed as for {expected}")
    return image


def _chosen(
    found: dict[Platform, BaseImage], platforms: Sequence[Platform] | str | None, what: str
) -> tuple[BaseImage, ...]:
    wanted = list(found) if platforms == ALL else choose_platforms(list(found), _asked(platforms), what=what)
    return tuple(found[one] for one in wanted)


def _asked(platforms: Sequence[Platform] | str | None) -> Sequence[Platform] | None:
    return None if isinstance(platforms, str) else platforms


def _in_layout(path: Path, name: str | None) -> tuple[Layout, Descriptor]:
    if not path.is_dir():
        raise NotFoundError(f"{path}: no OCI image layout is there")
    layout = Layout.at(path)
    if name is not None:
        try:
            return layout, layout.resolve(name).bare
        except NotFoundError as error:
            raise NotFoundError(f"{path}: {error.message}", hint=_there(layout.names())) from error
    return layout, _only(layout.manifests(), str(path), _there(layout.names()))


def _in_archive(archive: TarStore, name: str | None) -> Descriptor:
    raw = archive.document("index.json")
    if raw is None:
        raise IntegrityError(f"{archive.path}: no OCI image layout (it holds no index.json)")
    index = parse_manifest(raw, media_type=OCI_INDEX, what=f"{archive.path}: index.json")
    entries = index.manifests if isinstance(index, Index) else ()
    if name is not None:
        entries = tuple(entry for entry in entries if entry.annotations.get(REF_NAME) == name)
        if not entries:
            raise NotFoundError(f"{archive.path}: no {ascii(name)[:200]} in it")
    return _only(entries, str(archive.path), "name one of them after the file, with a colon")


def _only(entries: Sequence[Descriptor], what: str, hint: str) -> Descriptor:
    digests = {entry.digest: entry.bare for entry in entries}
    if not digests:
        raise StoreError(f"{what}: holds no image")
    if len(digests) > 1:
        raise ConflictError(f"{what}: holds {len(digests)} images", hint=hint)
    return next(iter(digests.values()))


def _there(names: dict[str, Descriptor]) -> str:
    return f"it has {', '.join(sorted(names)[:10]) or 'no names'}; the name comes after the path, with a colon"
