"""Container images of kits: a base, the kit's files on top, and how it starts, without a daemon and without root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlkit.api.image_bases import Bases, open_base
from mlkit.api.image_documents import ImageDocuments, labels_of
from mlkit.api.image_evidence import Material, Witness, provenance, witness_for
from mlkit.api.image_layers import LayerMaker, MadeLayer
from mlkit.api.image_parts import ImageContent, Started, collect_content, start_of
from mlkit.api.image_targets import give_name, mount_base, opened, repository_of, sizes_at, tag_of
from mlkit.api.policies import gate_of
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.api.variants import ANY, Choice, Chosen, find
from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.storage import Storage
from mlkit.errors import IntegrityError, UsageError
from mlkit.packing.kit import load_kit
from mlkit.registry.store import RegistryStore
from mlkit.serving.image_archive import ImageArchive
from mlkit.serving.image_config import Launch, is_root, starts_something
from mlkit.serving.image_places import ImagePlace
from mlkit.serving.image_platform import Platform
from mlkit.serving.image_source import ImageSource
from mlkit.serving.image_tree import DEPTH, ImageLayer, plan_layers
from mlkit.spec.digest import Digest
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
    PolicyError; UnsafeError for files or layers that have no place in an image; ConflictError for two files in one
    place; then no tag has moved.
    """
    options = options or ImageOptions()
    _check(target, options)
    plan = _planned(session, find(session, reference, choice, remote=remote), base, options)
    if target.kind == "docker-archive" and len(plan.bases.images) > 1:
        raise UsageError(f"{target.text}: an archive of Docker's holds one platform", hint="--platform chooses it")
    with explained_trouble(plan.located), opened(session, target) as store:
        return _written(session, plan, store, target)


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that is decided before anything is written."""

    chosen: Chosen
    base: ImagePlace
    bases: Bases
    content: ImageContent
    started: Started
    launch: Launch
    layers: tuple[ImageLayer, ...]
    annotations: Mapping[str, str]
    options: ImageOptions
    witness: Witness | None
    policy: str | None

    @property
    def located(self) -> Located:
        return self.chosen.located


def _check(target: ImagePlace, options: ImageOptions) -> None:
    if target.kind == "docker-archive" and (options.is_signed or options.has_provenance):
        raise UsageError(f"{target.text}: an archive of Docker's holds no signatures", hint="oci:DIR:TAG does")


def _planned(session: Session, chosen: Chosen, base: ImagePlace, options: ImageOptions) -> _Plan:
    located, gate = chosen.located, gate_of(session)
    kits = () if located is chosen.named else (located,)
    report = gate.check(chosen.named, purpose="image", kits=kits) if gate else None
    witness = witness_for(session, options.key, is_signed=options.is_signed, has_provenance=options.has_provenance)
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        content = collect_content(session, located, kit, options.filters, gate)
    bases = open_base(session, base, options.platforms)
    started = start_of(content, options.runtime, options.launch.entrypoint, is_scratch=base.kind == "scratch")
    own = options.launch if started.launch.entrypoint is None else replace(options.launch, entrypoint=None)
    layers = plan_layers(
        content.parts,
        texts=content.texts,
        links=started.links,
        directories=content.directories,
        room=min(DEPTH - len(image.layers) for image in bases.images),
    )
    return _Plan(
        chosen=chosen,
        base=base,
        bases=bases,
        content=content,
        started=started,
        launch=own.over(started.launch),
        layers=layers,
        annotations=labels_of(located, kit, bases),
        options=options,
        witness=witness,
        policy=report.verdict if report else None,
    )


def _written(session: Session, plan: _Plan, store: Storage, target: ImagePlace) -> BuiltImage:
    """Layers, then the base's, then documents, then what is said of the image, and its name at the end."""
    source = ImageSource(plan.bases.store)
    with LayerMaker.open(session, store, source, sizes=sizes_at(store, target)) as maker:
        made = maker.make(plan.layers, repository_of(plan.located, target))
    labels = {**plan.annotations, **plan.options.labels}
    documents = ImageDocuments(source, [one.appended for one in made], plan.launch, plan.annotations, labels)
    root = documents.render(plan.bases.images, created=session.settings.created)
    mount_base(store, plan.bases)
    concurrency = 1 if isinstance(store, ImageArchive) else session.settings.concurrency
    with _explained_base(plan.bases):
        copied = copy(source, store, root, concurrency=concurrency, progress=session.progress)
    statements = 0
    if plan.witness is not None and isinstance(store, RegistryStore | Layout):
        image = Located(target.reference or Reference(None, "image", tag_of(target)), root, store, "remote")
        statements = plan.witness.attest(session, image, store, _provenance(plan))
    replaced = give_name(store, target, plan.located, root, documents.manifests)
    sent = sum(one.size for one in made if one.is_sent)
    container = documents.containers[0]
    return BuiltImage(
        target=target.text,
        digest=root.digest,
        kit=str(plan.located.reference),
        kit_digest=plan.located.desc.digest,
        base=plan.base.text,
        base_digest=plan.bases.digest,
        platforms=tuple(str(image.platform) for image in plan.bases.images),
        size=documents.size,
        layers=tuple(made),
        entrypoint=tuple(container.get("Entrypoint") or ()),
        command=tuple(container.get("Cmd") or ()),
        user=container["User"],
        moved_bytes=copied.moved_bytes + sent,
        present_bytes=max(copied.present_bytes - sent, 0),
        replaced=replaced,
        statements=statements,
        policy=plan.policy,
        notes=tuple(_notes(plan, container)),
    )


@contextmanager
def _explained_base(bases: Bases) -> Iterator[None]:
    """Say of a layer of the base that is not what it should be where it came from."""
    try:
        yield
    except IntegrityError as error:
        layers = {str(layer.digest) for image in bases.images for layer in image.layers}
        if not error.hint and any(error.message.startswith(layer) for layer in layers):
            error.hint = "this is a layer of the base: get the base again, or from where it came from"
        raise


def _provenance(plan: _Plan) -> dict[str, object]:
    chosen, bases, base, options = plan.chosen, plan.bases, plan.base, plan.options
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


def _notes(plan: _Plan, container: Mapping[str, Any]) -> Iterator[str]:
    bases, started = plan.bases, plan.started
    if bases.others and len(bases.images) == 1:
        others = ", ".join(map(str, bases.others[:10]))
        yield f"for {bases.images[0].platform}; the base also has {others} (--platform all takes every one)"
    kept = bases.images[0].kit
    if kept is not None and kept != str(plan.located.desc.digest):
        yield f"the base has a kit in it already, {kept}: what this one does not replace of it stays"
    if started.why is not None:
        yield started.why
    if is_root(container["User"]):
        yield "it runs as root, as --user says"
    if not starts_something(bases.images[0], plan.launch):
        yield "a container of it has nothing to run: it can be mounted, and --entrypoint or --runtime lets it start"
    if started.why is None and plan.content.facts.models and plan.launch.entrypoint is None:
        yield "it starts as its base does; --runtime takes the command of a runtime from the table"
