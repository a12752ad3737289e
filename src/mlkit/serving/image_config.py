"""The config and the manifest of an image with a kit in it. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlkit.errors import IntegrityError, UsageError
from mlkit.serving.image_base import BaseImage
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import render_json
from mlkit.spec.manifest import Manifest, render_manifest
from mlkit.spec.media_types import OCI_IMAGE_CONFIG, OCI_INDEX

EPOCH = "1970-01-01T00:00:00Z"
"""When an image was made whose maker was told no time: a clock would give the same input another digest (D4)."""
NON_ROOT = "65532:65532"
"""Who runs where the base would have root: the `nonroot` of distroless images."""

_OF_THE_BASE = "org.opencontainers.image."
# Fields of the config document that say what the image is; Docker's others say how its build went.
_KEPT = ("architecture", "os", "variant", "os.version", "os.features")


@dataclass(frozen=True, slots=True)
class Launch:
    """How a container of the image starts. None, and what is not named, is as in the base."""

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    user: str | None = None
    workdir: str | None = None

    def over(self, other: Launch) -> Launch:
        """What is said here, and for the rest what `other` says; an entrypoint takes the command of `other` away."""
        command = other.command if self.command is None and self.entrypoint is None else self.command
        return Launch(
            entrypoint=other.entrypoint if self.entrypoint is None else self.entrypoint,
            command=command,
            env={**other.env, **self.env},
            ports=self.ports or other.ports,
            user=self.user or other.user,
            workdir=self.workdir or other.workdir,
        )


@dataclass(frozen=True, slots=True)
class Appended:
    """A layer that came on top of the base."""

    desc: Descriptor
    diff_id: Digest
    created_by: str
    """What the image's history says about it."""
    comment: str = ""


def render_config(
    base: BaseImage,
    appended: Sequence[Appended],
    launch: Launch,
    labels: Mapping[str, str],
    *,
    created: str | None = None,
) -> bytes:
    """The config document: canonical, so that equal arguments give equal bytes.

    Raises: IntegrityError for a base whose config has other shapes than the specification's.
    """
    created = created or EPOCH
    value = {name: base.config[name] for name in _KEPT if base.config.get(name)}
    value.update(base.platform.render())
    steps = [_step(one.created_by, created, one.comment) for one in appended]
    last = {**_step("mlkit image build: how it starts, and its labels", created), "empty_layer": True}
    value |= {
        "created": created,
        "config": _container(base.config.get("config") or {}, launch, labels),
        "rootfs": {"type": "layers", "diff_ids": [str(one) for one in (*base.diff_ids, *_diff_ids(appended))]},
        "history": [*_base_history(base, created), *steps, last],
    }
    return render_json(value)


def render_image(
    base: BaseImage, appended: Sequence[Appended], config: bytes, annotations: Mapping[str, str]
) -> Manifest:
    """The manifest of the image whose config document this is."""
    layers = (*base.layers, *(one.desc for one in appended))
    return render_manifest(config=Descriptor.of(config, OCI_IMAGE_CONFIG), layers=layers, annotations=annotations)


def render_index(images: Sequence[tuple[BaseImage, Manifest]], annotations: Mapping[str, str]) -> bytes:
    """An index of the images for several platforms."""
    entries = [{**manifest.descriptor.bare.render(), "platform": base.platform.render()} for base, manifest in images]
    return render_json(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": dict(annotations)}
    )


def is_root(user: str) -> bool:
    """Whether a `USER` is root: by number, by name, or because it says nothing."""
    return user.partition(":")[0].strip() in ("", "0", "root")


def starts_something(base: BaseImage, launch: Launch) -> bool:
    """Whether a container of the image has something to run."""
    container = base.config.get("config") or {}
    return bool(launch.entrypoint or launch.command or container.get("Entrypoint") or container.get("Cmd"))


def _container(found: Mapping[str, Any], launch: Launch, labels: Mapping[str, str]) -> dict[str, Any]:
    container = {name: value for name, value in found.items() if value not in (None, "", [], {})}
    if launch.entrypoint is not None:
        container["Entrypoint"] = list(launch.entrypoint)
        # The base's arguments were meant for its own entrypoint (Dockerfile reference, "ENTRYPOINT").
        container.pop("Cmd", None)
    if launch.command is not None:
        container["Cmd"] = list(launch.command)
    env = {**_pairs(found.get("Env")), **launch.env}
    if env:
        container["Env"] = [f"{name}={value}" for name, value in env.items()]
    if launch.ports:
        ports = _mapping(found, "ExposedPorts")
        container["ExposedPorts"] = {**ports, **{f"{port}/tcp": {} for port in launch.ports}}
    if launch.workdir is not None:
        container["WorkingDir"] = launch.workdir
    container["User"] = launch.user or _user(found.get("User"))
    inherited = {name: text for name, text in _mapping(found, "Labels").items() if not name.startswith(_OF_THE_BASE)}
    container["Labels"] = {**inherited, **labels}
    return container


def _user(found: object) -> str:
    user = found if isinstance(found, str) else ""
    return NON_ROOT if is_root(user) else user


def _pairs(found: object) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise IntegrityError("the base image: Env is not a list of texts")
    return {name: value for name, _, value in (one.partition("=") for one in found)}


def _mapping(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise IntegrityError(f"the base image: {name} is not an object")
    return value


def _diff_ids(appended: Sequence[Appended]) -> tuple[Digest, ...]:
    return tuple(one.diff_id for one in appended)


def _step(created_by: str, created: str, comment: str = "") -> dict[str, Any]:
    step: dict[str, Any] = {"created": created, "created_by": created_by}
    return {**step, "comment": comment} if comment else step


def _base_history(base: BaseImage, created: str) -> list[dict[str, Any]]:
    """The base's own steps, as many of them with a layer as it has layers: whoever checks images counts them."""
    found = base.config.get("history")
    steps = [step for step in found if isinstance(step, dict)] if isinstance(found, list) else []
    if sum(not step.get("empty_layer") for step in steps) == len(base.layers):
        return steps
    return [_step("a layer of the base image", created) for _ in base.layers]


def parse_env(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` as people type it. Raises: UsageError."""
    pairs = [text.partition("=") for text in texts]
    for name, separator, value in pairs:
        if not name or not separator or "\0" in value:
            raise UsageError(f"{ascii(name + separator + value)[:100]} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}
