"""From a kit in a registry to the documents that run it: resolved once, pinned by digest, held against the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mlkit.api import serving_files
from mlkit.api.evidence import evidence_of
from mlkit.api.image_parts import collect_content
from mlkit.api.kit_facts import trusted_keys
from mlkit.api.policies import Gate, gate_of
from mlkit.api.session import Located, Session, explained_trouble
from mlkit.api.variants import ANY, find
from mlkit.api.variants import Choice as VariantChoice
from mlkit.errors import UsageError
from mlkit.packing.kit import Kit as PackedKit
from mlkit.packing.kit import load_kit
from mlkit.serving.choose import Choice, choose
from mlkit.serving.command import Command, container_command, filled
from mlkit.serving.deploy.compose import compose
from mlkit.serving.deploy.deployment import (
    IMAGE_ROOT,
    MODEL_ROOT,
    REPOSITORY,
    Deployment,
    Kit,
    Resources,
    Source,
    check_object_name,
    check_quantity,
    estimated,
    object_name,
)
from mlkit.serving.deploy.knative import flags_needed, knative
from mlkit.serving.deploy.kserve import kserve, shadowed
from mlkit.serving.deploy.kubernetes import kubernetes
from mlkit.serving.deploy.systemd import state_root, systemd
from mlkit.serving.facts import KitFacts, served_name
from mlkit.serving.profile import PREDICATE_TYPE, Profile, parse_profile
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import Class
from mlkit.spec.reference import Reference
from mlkit.spec.yaml_text import dump_documents

Target = Literal["kubernetes", "kserve", "knative", "compose", "systemd"]

_OWN_SERVER = (
    "`mlkit image build REF --runtime none --entrypoint WORDS` makes an image that runs a server of your own, which "
    "needs no document of mlkit's"
)


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """What is wanted of a deployment; None lets mlkit decide."""

    source: Source = "init"
    runtime: str | None = None
    model: str | None = None
    """Path of the model within the kit, of several."""
    name: str | None = None
    namespace: str | None = None
    image: str | None = None
    """The server's; with the source `image` the one that holds the kit, too."""
    init_image: str | None = None
    model_image: str | None = None
    replicas: int = 1
    max_replicas: int | None = None
    min_scale: int = 0
    """Of Knative: 0 lets the server sleep."""
    port: int | None = None
    gpus: int | None = None
    cpu: str | None = None
    memory: str | None = None
    pull_secret: str | None = None
    policy_config_map: str | None = None
    arguments: Sequence[str] = ()
    """Added to the command of the runtime."""
    challenger: Reference | None = None
    """A kit that answers a copy of the traffic, on KServe with Istio."""
    mirror_percent: int = 100
    profile: Profile | None = None
    """What was measured; None: the newest that a trusted key has signed, if the kit has one."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Documents, and what they were made of."""

    target: Target
    text: str
    documents: tuple[dict[str, Any], ...]
    """Empty for systemd, whose units are no YAML."""
    kit: str
    """Pinned by digest."""
    digest: Digest
    version: str | None
    runtime: str
    why: str
    """Why this runtime: one sentence."""
    notes: tuple[str, ...]
    """What a person should know: sentences."""


def render(
    session: Session,
    reference: Reference,
    target: Target,
    options: DeployOptions | None = None,
    *,
    choice: VariantChoice = ANY,
) -> Rendered:
    """The documents that run a kit; nothing is written, and nothing of the model moves.

    Raises: UsageError for a kit that no cluster could reach, and for what the target has no word for; NotFoundError
    for a kit without a model; PolicyError; what resolving raises.
    """
    options = options or DeployOptions()
    deployment, chosen = _deployment(session, reference, target, options, choice)
    notes = [f"resources: {deployment.resources.why}"]
    documents: list[dict[str, Any]] = []
    if options.challenger is not None and target != "kserve":
        raise UsageError("--challenger is for --to kserve, whose traffic Istio can mirror")
    if target == "kubernetes":
        documents = kubernetes(deployment)
    elif target == "kserve":
        documents = _kserve(session, deployment, options, notes)
    elif target == "knative":
        documents = knative(deployment, min_scale=options.min_scale)
        notes.append(f"the cluster's config-features must enable {', '.join(flags_needed(deployment))}")
    elif target == "compose":
        documents = compose(deployment)
    text = dump_documents(documents) if documents else systemd(deployment)
    return Rendered(
        target=target,
        text=text,
        documents=tuple(documents),
        kit=deployment.kit.pinned,
        digest=deployment.kit.digest,
        version=deployment.kit.version,
        runtime=deployment.runtime.name,
        why=chosen.why,
        notes=(*notes, *_notes(deployment, target)),
    )


def _kserve(session: Session, champion: Deployment, options: DeployOptions, notes: list[str]) -> list[dict[str, Any]]:
    if options.challenger is None:
        return kserve(champion)
    own = replace(options, name=f"{champion.name}-challenger", challenger=None)
    challenger, _ = _deployment(session, options.challenger, "kserve", own, ANY)
    if challenger.kit.digest == champion.kit.digest:
        raise UsageError(f"{options.challenger}: the challenger is the champion, {champion.kit.digest}")
    notes.append(f"{options.mirror_percent} % of the requests go to {challenger.name} as well; its answers are dropped")
    return shadowed(champion, challenger, percent=options.mirror_percent)


def _deployment(
    session: Session, reference: Reference, target: Target, options: DeployOptions, choice: VariantChoice
) -> tuple[Deployment, Choice]:
    if reference.host is None:
        raise UsageError(
            f"{reference}: names no registry, and what runs the kit must reach it",
            hint=f"`mlkit push {reference} host/repository:tag` first, and name that",
        )
    found = find(session, reference, choice, remote=True)
    located = found.located
    gate = gate_of(session)
    if gate is not None:
        kits = () if located is found.named else (located,)
        gate.check(found.named, purpose="deploy", kits=kits)
    with explained_trouble(located):
        kit = load_kit(located.store, located.desc)
        facts, chosen, command, port = _command(session, located, kit, target, options, gate)
        size = sum(layer.size for layer in kit.layers if layer.cls is not Class.DATASETS)
    name = check_object_name(options.name, what="--name") if options.name else object_name(facts.name)
    _check_images(options, target)
    model_size = chosen.model.size if chosen.model is not None else size
    return (
        Deployment(
            name=name,
            kit=Kit(reference.name, reference.tag, located.desc.digest, facts.version, size),
            runtime=chosen.runtime,
            command=command,
            image=_server_image(options, target, chosen),
            source=options.source,
            resources=_resources(options, chosen, options.profile or _attested(session, located), model_size),
            served_name=facts.name,
            port=port,
            init_image=options.init_image,
            model_image=options.model_image,
            namespace=_object(options.namespace, "--namespace"),
            replicas=options.replicas,
            max_replicas=options.max_replicas,
            pull_secret=_object(options.pull_secret, "--pull-secret"),
            policy_config_map=_object(options.policy_config_map, "--policy-config-map"),
            plain_http=session.settings.speaks_plain_http(reference.host),
            own_arguments=tuple(options.arguments),
        ),
        chosen,
    )


def _command(
    session: Session, located: Located, kit: PackedKit, target: Target, options: DeployOptions, gate: Gate | None
) -> tuple[KitFacts, Choice, Command, int]:
    """What the kit is to a server, the runtime for it, its command, and the port."""
    if options.source in ("image", "image-volume"):
        content = collect_content(session, located, kit, (), gate)
        facts = content.facts
        chosen = choose(facts, options.runtime, place="container", path=options.model, own_server=_OWN_SERVER)
        if chosen.model is not None:
            inside = content.place_of(chosen.model.path).strip("/")
            chosen = replace(chosen, model=replace(chosen.model, path=inside))
        root = IMAGE_ROOT if options.source == "image-volume" else "/"
    else:
        facts = serving_files.facts_of(session, located, kit, gate)
        place: Literal["machine", "container"] = "machine" if target == "systemd" else "container"
        chosen = choose(facts, options.runtime, place=place, path=options.model, own_server=_OWN_SERVER)
        root = MODEL_ROOT
    if chosen.runtime.name == "custom":
        raise UsageError(f"{located.reference}: nobody knows what command `custom` is in a document", hint=_OWN_SERVER)
    port = options.port if options.port is not None else chosen.runtime.port
    if target != "systemd":
        command = container_command(chosen, root=root, repository=REPOSITORY, name=served_name(facts.name), port=port)
        return facts, chosen, command, port
    local = chosen.runtime.local[0]
    state = state_root(options.name or object_name(facts.name))
    command = filled(
        chosen,
        local.argv,
        root=state,
        repository=f"{state}-repository",
        name=served_name(facts.name),
        host="127.0.0.1",
        port=port,
        python="python3",
        program=local.program,
        health=local.health,
    )
    if command.placed:
        raise UsageError(f"{chosen.runtime.name} wants its models in an order of its own, which no unit makes")
    return facts, chosen, command, port


def _check_images(options: DeployOptions, target: Target) -> None:
    if options.source == "init" and options.init_image is None and target != "systemd":
        raise UsageError(
            "--source init needs --init-image, an image of mlkit itself",
            hint="examples/serving-image builds one; --source csi and --source image need none",
        )
    if options.source == "image-volume" and options.model_image is None:
        raise UsageError(
            "--source image-volume needs --model-image, an image that holds the kit",
            hint="`mlkit image build REF --base scratch -t IMAGE` makes one",
        )
    if options.source == "image" and options.image is None:
        raise UsageError(
            "--source image needs --image, a server with the kit in it", hint="`mlkit image build` makes one"
        )


def _server_image(options: DeployOptions, target: Target, chosen: Choice) -> str:
    runtime = chosen.runtime
    wants_gpu = options.gpus != 0 and runtime.gpu != "none"
    image = options.image or (runtime.image if wants_gpu or runtime.cpu_image is None else runtime.cpu_image)
    if image is None and target != "systemd":
        raise UsageError(f"nobody publishes an image of {runtime.name}", hint="--image names yours")
    return image or ""


def _attested(session: Session, located: Located) -> Profile | None:
    """The newest profile on the kit that one of the trusted keys has signed."""
    keys = trusted_keys(session)
    found = evidence_of(session, located, keys) if keys else ()
    own = [one for one in found if one.signed_by and one.statement.predicate_type == PREDICATE_TYPE]
    profiles = [parse_profile(one.statement.predicate, what=str(one.digest)) for one in own]
    return max(profiles, key=lambda one: one.measured_at, default=None)


def _resources(options: DeployOptions, chosen: Choice, profile: Profile | None, model_size: int) -> Resources:
    needs = 1 if chosen.runtime.gpu == "required" else 0
    gpus = options.gpus if options.gpus is not None else needs
    if gpus == 0 and chosen.runtime.gpu == "required":
        raise UsageError(f"{chosen.runtime.name} needs a GPU", hint="leave --gpus out, or take another --runtime")
    found = estimated(model_size, gpus=gpus)
    if profile is not None and profile.runtime == chosen.runtime.name:
        told = profile.suggestion
        found = Resources(
            cpu=check_quantity(told.cpu, what="cpu of the profile"),
            memory=check_quantity(told.memory, what="memory of the profile"),
            gpus=options.gpus if options.gpus is not None else max(told.gpus, needs),
            why=f"measured {profile.measured_at} on {profile.machine.system}",
            memory_limit=check_quantity(told.memory_limit, what="memory_limit of the profile"),
            startup_seconds=told.startup_seconds,
        )
    if options.cpu is not None:
        found = replace(found, cpu=check_quantity(options.cpu, what="--cpu"))
    if options.memory is not None:
        found = replace(found, memory=check_quantity(options.memory, what="--memory"), memory_limit=None)
    return replace(found, why="as asked for") if options.cpu and options.memory else found


def _object(name: str | None, what: str) -> str | None:
    return check_object_name(name, what=what) if name is not None else None


def _notes(deployment: Deployment, target: Target) -> list[str]:
    notes = []
    if "@sha256:" not in deployment.image and target != "systemd":
        notes.append(f"the server's image {deployment.image} is pinned by a tag alone, which may move")
    if deployment.source == "image-volume":
        notes.append("image volumes need Kubernetes 1.33, or 1.31 with its feature gate ImageVolume")
    if deployment.source == "csi":
        notes.append("the nodes need model-csi-driver of ModelPack, which holds the credentials of registries itself")
    return notes
