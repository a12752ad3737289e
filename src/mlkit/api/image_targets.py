"""Where an image is written to: a registry, a layout, or a file. Its name comes last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mlkit.api.image_bases import Bases
from mlkit.api.moving import move_tag
from mlkit.api.session import Located, Session
from mlkit.content.graph import document
from mlkit.content.layout import CONTROL, Layout
from mlkit.content.storage import Storage
from mlkit.errors import ConflictError, IntegrityError, LimitError, MlkitError, NotFoundError, UsageError
from mlkit.registry.store import RegistryStore
from mlkit.serving.image_archive import ImageArchive
from mlkit.serving.image_places import ImagePlace
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.manifest import Manifest


@contextmanager
def opened(session: Session, target: ImagePlace) -> Iterator[Storage]:
    """The store behind a target. Raises: StoreError, UsageError."""
    if target.kind == "registry":
        assert target.reference is not None, "a target in a registry has a reference"
        yield session.registry(target.reference)
        return
    assert target.path is not None, "other targets have a path"
    if target.kind == "layout":
        if target.path.is_file():
            raise UsageError(f"{target.path}: is a file", hint="oci: names a directory")
        with _laid_out(target.path) as layout:
            yield layout
        return
    with ImageArchive(target.path) as archive:
        yield archive


@contextmanager
def _laid_out(path: Path) -> Iterator[Layout]:
    """The layout at `path`. One that is new is gone again where no image comes of it; after a kill it is resumed."""
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    layout = Layout.open_or_new(path)
    is_new, is_done = layout.is_absent, False
    try:
        yield layout
        is_done = True
    finally:
        if is_new and not is_done and not layout.is_absent:
            # The error that is on its way says more than one of tidying up.
            with suppress(MlkitError, OSError):
                _take_back(layout)
                for folder in absent:
                    folder.rmdir()


def _take_back(layout: Layout) -> None:
    with layout.lock.exclusive():
        if layout.manifests():
            return  # somebody else put an image there meanwhile
        for name in ("index.json", "oci-layout"):
            (layout.root / name).unlink(missing_ok=True)
        for name in ("blobs", CONTROL):
            shutil.rmtree(layout.root / name)


def sizes_at(store: Storage, target: ImagePlace) -> frozenset[int]:
    """Sizes of the layers of the image that is at the target's name now, if there is one."""
    try:
        if not isinstance(store, RegistryStore | Layout):
            return frozenset()
        found = document(store, store.resolve(tag_of(target)))
    except (NotFoundError, IntegrityError, LimitError, ConflictError):
        return frozenset()
    first = found if isinstance(found, Manifest) else None
    return frozenset(layer.size for layer in first.layers) if first is not None else frozenset()


def repository_of(located: Located, target: ImagePlace) -> str | None:
    """The repository that the kit's layers are in, where that is one of the target's registry."""
    is_near = target.reference is not None and target.reference.host == located.reference.host
    return located.reference.repository if located.source == "remote" and is_near else None


def mount_base(store: Storage, bases: Bases) -> None:
    """Take the base's layers over within one registry, instead of moving them through this machine."""
    if bases.repository is None or not isinstance(store, RegistryStore):
        return
    host, _, repository = bases.repository.partition("/")
    if host != store.name.partition("/")[0] or bases.repository == store.name:
        return
    for layer in {layer.digest: layer for image in bases.images for layer in image.layers}.values():
        if not store.exists(layer):
            store.mount(layer, repository)


def give_name(
    store: Storage, target: ImagePlace, located: Located, root: Descriptor, manifests: Sequence[Manifest]
) -> Digest | None:
    """Let the image have its name, which is the last thing that happens; gives what had it before."""
    if isinstance(store, RegistryStore):
        return move_tag(store, root, tag_of(target))
    if isinstance(store, Layout):
        before = store.names().get(tag_of(target))
        store.tag(root, tag_of(target))
        return before.digest if before is not None and before.digest != root.digest else None
    assert isinstance(store, ImageArchive), "there are three kinds of targets"
    reference = located.reference
    store.finish(manifests[0], target.name or f"{reference.name}:{reference.tag or 'latest'}")
    return None


def tag_of(target: ImagePlace) -> str:
    """The tag in a registry or layout."""
    if target.reference is not None:
        return target.reference.tag or "latest"
    return target.name or "latest"
