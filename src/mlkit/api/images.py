"""Container images of kits: a base, the kit's files on top, and how it starts, without a daemon and without root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlkit.api.image_bases import Bases, open_base
from mlkit.api.image_evidence import Material, provenance, witness_for
from mlkit.api.image_layers import LayerMaker, MadeLayer
from mlkit.api.image_parts import ImageContent, Started, collect_content, start_of
from mlkit.api.moving import move_tag
from mlkit.api.policies import gate_of
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.api.variants import ANY, Choice, Chosen, find
from mlkit.content.copy import copy
from mlkit.content.graph import document
from mlkit.content.layout import Layout
from mlkit.content.storage import Storage
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError, UsageError
from mlkit.packing.kit import Kit, load_kit
from mlkit.registry.store import RegistryStore
from mlkit.serving.image_archive import ImageArchive
from mlkit.serving.image_base import BaseImage
from mlkit.serving.image_config import (
    Appended,
    Launch,
    is_root,
    render_config,
    render_image,
    render_index,
    starts_something,
)
from mlkit.serving.image_places import ImagePlace
from mlkit.serving.image_platform import Platform
from mlkit.serving.image_source import ImageSource
from mlkit.serving.image_tree import DEPTH, plan_layers
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.manifest import Manifest
from mlkit.spec.media_types import (
    BASE_DIGEST,
    BASE_NAME,
    CREATED,
    DESCRIPTION,
    KIT_DIGEST,
    KIT_REFERENCE,
    LICENSES,
    OCI_INDEX,
    TITLE,
    VERSION,
)
from mlkit.spec.reference import Reference


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What is wanted of an image beside its kit and its base."""

    platforms: Sequence[Platform] | str | None = None
    """None: linux/amd64 of a base with several, or the only one; "all"; or these."""
    filters: Sequence[str] = ()
    """None: everything but datasets."""
    runtime: str | None = None
    """A name of the table of runtimes, or "none"; None: the one that the kit asks for."""
    launch: Launch = field(default_factory=Launch)
    """Goes before what the table and the base say."""
    labels: Mapping[str, str] = field(default_factory=dict)
    key: Path | None = None
    """The private key to sign with; None where the setting `signing_key` names it."""
    is_signed: bool = False
    has_provenance: bool = False
    """Whether what it was made of is said, signed, too."""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was written."""

    target: str
    digest: Digest
    """Of the manifest, or of the index for several platforms."""
    kit: str
    kit_digest: Digest
    base: str
    base_digest: Digest | None
    platforms: tuple[str, ...]
    size: int
    """Bytes of all layers, manifests and configs, each once."""
    layers: tuple[MadeLayer, ...]
    """Those that came on top of the base."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    moved_bytes: int
    present_bytes: int
    replaced: Digest | None
    """What the tag pointed at before, where that was something else."""
    statements: int
    """Signatures and attestations that were attached."""
    notes: tuple[str, ...]
    """What a person should know: sentences."""
    policy: str | None = None
    """What the configured policy said of the kit; None where there is none."""


def build_image(
    session: Session,
    reference: Reference,
    base: ImagePlace,
    target: ImagePlace,
    options: ImageOptions | None = None,
    *,
    choice: Choice = ANY,
    remote: bool = False,
) -> BuiltImage:
    """Put a kit on a base image and write the result to `target`, its manifest after all that it lists.

    Of an index of kits, `choice` says which. Nothing is written before the policy has allowed the kit.
    Raises: NotFoundError, AuthError, NetworkError for kit, base or target; UsageError for a base of another platform;
    PolicyError;
    UnsafeError for files or layers that have no place in an image; ConflictError for two files in one place; then no
    tag has moved.
    """
    options = options or ImageOptions()
    chosen = find(session, reference, choice, remote=remote)
    located = chosen.located
    gate = gate_of(session)
    kits = () if located is chosen.named else (located,)
    report = gate.check(chosen.named, purpose="image", kits=kits) if gate else None
    if target.kind == "docker-archive" and (options.is_signed or options.has_provenance):
        raise UsageError(f"{target.text}: an archive of Docker's holds no signatures", hint="oci:DIR:TAG does")
    witness = witness_for(session, options.key, is_signed=options.is_signed, has_provenance=options.has_provenance)
    with explained_trouble(located), ExitStack() as stack:
        kit = load_kit(located.store, located.desc)
        bases = open_base(session, base, options.platforms)
        if target.kind == "docker-archive" and len(bases.images) > 1:
            raise UsageError(f"{target.text}: an archive of Docker's holds one platform", hint="--platform chooses it")
        content = collect_content(session, located, kit, options.filters, gate)
        started = start_of(content, options.runtime, options.launch.entrypoint, is_scratch=base.kind == "scratch")
        own = options.launch if started.launch.entrypoint is None else replace(options.launch, entrypoint=None)
        launch = own.over(started.launch)
        layers = plan_layers(
            content.parts,
            texts=content.texts,
            links=started.links,
            directories=content.directories,
            room=min(DEPTH - len(image.layers) for image in bases.images),
        )
        store = stack.enter_context(_opened(session, target))
        source = ImageSource(bases.store)
        with LayerMaker.open(session, store, source, sizes=_sizes_at(store, target)) as maker:
            made = maker.make(layers, _repository_of(located, target))
        labels = _labels(located, kit, bases)
        images = _Images(source, [one.appended for one in made], launch, labels, {**labels, **options.labels})
        root = images.render(bases.images, created=session.settings.created)
        _mount_base(store, bases)
        concurrency = 1 if isinstance(store, ImageArchive) else session.settings.concurrency
        copied = copy(source, store, root, concurrency=concurrency, progress=session.progress)
        statements = 0
        if witness is not None and isinstance(store, RegistryStore | Layout):
            image = Located(target.reference or Reference(None, "image", _tag(target)), root, store, "remote")
            statements = witness.attest(session, image, store, _provenance(chosen, bases, base, options))
        replaced = _name(store, target, located, root, images.manifests)
    sent = sum(one.size for one in made if one.is_sent)
    container = images.containers[0]
    return BuiltImage(
        target=target.text,
        digest=root.digest,
        kit=str(located.reference),
        kit_digest=located.desc.digest,
        base=base.text,
        base_digest=bases.digest,
        platforms=tuple(str(image.platform) for image in bases.images),
        size=images.size,
        layers=tuple(made),
        entrypoint=tuple(container.get("Entrypoint") or ()),
        command=tuple(container.get("Cmd") or ()),
        user=container["User"],
        moved_bytes=copied.moved_bytes + sent,
        present_bytes=max(copied.present_bytes - sent, 0),
        replaced=replaced,
        statements=statements,
        policy=report.verdict if report else None,
        notes=tuple(_notes(bases, content, started, launch, container)),
    )


class _Images:
    """The documents of an image, which the source is given."""

    def __init__(
        self,
        source: ImageSource,
        appended: Sequence[Appended],
        launch: Launch,
        annotations: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> None:
        self._source = source
        self._appended = appended
        self._launch = launch
        self._annotations = annotations
        self._labels = labels
        self._documents = 0
        self.manifests: list[Manifest] = []
        self.containers: list[dict[str, Any]] = []

    def render(self, bases: Sequence[BaseImage], *, created: str | None) -> Descriptor:
        """The image, or an index of the images for several platforms."""
        annotations = self._annotations if created is None else {**self._annotations, CREATED: created}
        for base in bases:
            config = render_config(base, self._appended, self._launch, self._labels, created=created)
            manifest = render_image(base, self._appended, config, annotations)
            self.manifests.append(manifest)
            self.containers.append(parse_object(config, what="config")["config"])
            self._add(config)
            self._add(manifest.raw)
        if len(bases) == 1:
            return self.manifests[0].descriptor.bare
        index = render_index(list(zip(bases, self.manifests, strict=True)), annotations)
        self._add(index)
        return Descriptor.of(index, OCI_INDEX)

    @property
    def size(self) -> int:
        """Bytes of everything, each digest once."""
        return sum(
            {layer.digest: layer.size for one in self.manifests for layer in one.layers}.values(), self._documents
        )

    def _add(self, raw: bytes) -> None:
        self._source.add_document(raw)
        self._documents += len(raw)


@contextmanager
def _opened(session: Session, target: ImagePlace) -> Iterator[Storage]:
    if target.kind == "registry":
        assert target.reference is not None, "a target in a registry has a reference"
        yield session.registry(target.reference)
        return
    assert target.path is not None, "other targets have a path"
    if target.kind == "layout":
        if target.path.is_file():
            raise UsageError(f"{target.path}: is a file", hint="oci: names a directory")
        yield Layout.create(target.path)
        return
    with ImageArchive(target.path) as archive:
        yield archive


def _sizes_at(store: Storage, target: ImagePlace) -> frozenset[int]:
    """Sizes of the layers of the image that is at the target's name now, if there is one."""
    try:
        if not isinstance(store, RegistryStore | Layout):
            return frozenset()
        found = document(store, store.resolve(_tag(target)))
    except (NotFoundError, IntegrityError, LimitError, ConflictError):
        return frozenset()
    first = found if isinstance(found, Manifest) else None
    return frozenset(layer.size for layer in first.layers) if first is not None else frozenset()


def _repository_of(located: Located, target: ImagePlace) -> str | None:
    """The repository that the kit's layers are in, where that is one of the target's registry."""
    is_near = target.reference is not None and target.reference.host == located.reference.host
    return located.reference.repository if located.source == "remote" and is_near else None


def _mount_base(store: Storage, bases: Bases) -> None:
    """Take the base's layers over within one registry, instead of moving them through this machine."""
    if bases.repository is None or not isinstance(store, RegistryStore):
        return
    host, _, repository = bases.repository.partition("/")
    if host != store.name.partition("/")[0] or bases.repository == store.name:
        return
    for layer in {layer.digest: layer for image in bases.images for layer in image.layers}.values():
        if not store.exists(layer):
            store.mount(layer, repository)


def _tag(target: ImagePlace) -> str:
    if target.reference is not None:
        return target.reference.tag or "latest"
    return target.name or "latest"


def _name(
    store: Storage, target: ImagePlace, located: Located, root: Descriptor, manifests: Sequence[Manifest]
) -> Digest | None:
    """Let the image have its name, which is the last thing that happens; gives what had it before."""
    if isinstance(store, RegistryStore):
        return move_tag(store, root, _tag(target))
    if isinstance(store, Layout):
        before = store.names().get(_tag(target))
        store.tag(root, _tag(target))
        return before.digest if before is not None and before.digest != root.digest else None
    assert isinstance(store, ImageArchive), "there are three kinds of targets"
    reference = located.reference
    store.finish(manifests[0], target.name or f"{reference.name}:{reference.tag or 'latest'}")
    return None


def _labels(located: Located, kit: Kit, bases: Bases) -> dict[str, str]:
    """What the image says of itself, as labels and as annotations."""
    package = kit.kitfile.package
    told = {
        TITLE: package.name,
        VERSION: package.version,
        DESCRIPTION: package.description,
        LICENSES: package.license,
        BASE_NAME: bases.name,
        BASE_DIGEST: None if bases.digest is None else str(bases.digest),
        KIT_REFERENCE: str(located.reference),
        KIT_DIGEST: str(located.desc.digest),
    }
    return {name: text for name, text in told.items() if text}


def _provenance(chosen: Chosen, bases: Bases, base: ImagePlace, options: ImageOptions) -> dict[str, object]:
    parameters = {
        "kit": str(chosen.named.reference),
        "base": bases.name or base.kind,
        "platforms": [str(image.platform) for image in bases.images],
        "filters": list(options.filters),
        "runtime": options.runtime,
    }
    materials = [Material("kit", str(chosen.named.reference), chosen.located.desc.digest)]
    if base.kind != "scratch":
        materials.append(Material("base", bases.name or base.kind, bases.digest))
    return provenance(parameters, tuple(materials))


def _notes(
    bases: Bases, content: ImageContent, started: Started, launch: Launch, container: Mapping[str, Any]
) -> Iterator[str]:
    if bases.others and len(bases.images) == 1:
        others = ", ".join(map(str, bases.others[:10]))
        yield f"for {bases.images[0].platform}; the base also has {others} (--platform all takes every one)"
    if started.why is not None:
        yield started.why
    if is_root(container["User"]):
        yield "it runs as root, as --user says"
    if not starts_something(bases.images[0], launch):
        yield "a container of it has nothing to run: it can be mounted, and --entrypoint or --runtime lets it start"
    if started.why is None and content.facts.models and launch.entrypoint is None:
        yield "it starts as its base does; --runtime takes the command of a runtime from the table"
