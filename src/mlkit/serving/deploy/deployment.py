"""What is deployed, whichever tool it is for: the kit by digest, its server, and what that needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlkit.errors import UsageError
from mlkit.serving.command import Command
from mlkit.serving.runtimes import Runtime
from mlkit.spec.digest import Digest

Source = Literal["init", "image-volume", "csi", "image"]
"""How the model comes to the server: unpacked by an init container, mounted as an image, mounted by a CSI driver for
model artifacts, or in the server's own image."""

MODEL_ROOT = "/models"
"""Where an init container or a CSI driver puts the files of a kit, by their paths in it."""
IMAGE_ROOT = "/mnt/kit"
"""Where an image with a kit in it is mounted as a volume: its root, with `models/` and `kit/` below."""
REPOSITORY = "/repository"
"""Where a server that wants its models in an order of its own finds them."""

UNPRIVILEGED = 65532
"""The user and group of what mlkit itself runs in a container; `nonroot` in distroless images."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"(?P<number>[0-9]+)(?P<suffix>m|Ki|Mi|Gi|Ti|k|M|G|T)?")
_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit as it is pinned in what is rendered."""

    repository: str
    """`host[:port]/repository`."""
    tag: str | None
    digest: Digest
    version: str | None
    size: int
    """Bytes of what is unpacked."""

    @property
    def pinned(self) -> str:
        """By digest alone: a tag that moves later changes nothing."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Resources:
    """What the server asks for; quantities as Kubernetes writes them."""

    cpu: str
    memory: str
    gpus: int = 0
    why: str = ""
    """Where the figures come from: one sentence."""
    memory_limit: str | None = None
    """Beyond which the server is stopped; None for as much as it asks for."""
    startup_seconds: int = 1800
    """How long it may take until it answers: the largest models take half an hour from a cold disk."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One server of one kit."""

    name: str
    """A DNS label."""
    kit: Kit
    runtime: Runtime
    command: Command
    image: str
    """The server's. With the source `image` it holds the kit, too."""
    source: Source
    resources: Resources
    served_name: str
    port: int
    init_image: str | None = None
    """mlkit's own, for the source `init`."""
    model_image: str | None = None
    """An image with the kit in it, for the source `image-volume`."""
    namespace: str | None = None
    replicas: int = 1
    max_replicas: int | None = None
    """For tools that scale."""
    pull_secret: str | None = None
    """Credentials of the registries, a Secret of type `kubernetes.io/dockerconfigjson`."""
    policy_config_map: str | None = None
    """A ConfigMap with `mlkit-policy.yaml` and the keys it names, which the init container keeps to."""
    plain_http: bool = False
    """Whether the registry of the kit speaks no TLS."""
    own_arguments: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_gpu(self) -> bool:
        return self.resources.gpus > 0

    @property
    def unpack_arguments(self) -> tuple[str, ...]:
        """Of `mlkit unpack` in an init container: without datasets, and again over what a restart left."""
        flags = ["--filter", "!datasets", "--overwrite", "--progress", "plain"]
        if self.plain_http:
            flags.append("--plain-http")
        if self.pull_secret is not None:
            flags += ["--authfile", "/etc/mlkit/auth/config.json"]
        if self.policy_config_map is not None:
            flags += ["--policy", "/etc/mlkit/policy/mlkit-policy.yaml"]
        return ("unpack", self.kit.pinned, "-d", MODEL_ROOT, *flags)


def object_name(text: str) -> str:
    """A DNS label (RFC 1123) from the name of a kit, at most 50 characters: tools add to it."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-")
    return name or "model"


def check_object_name(text: str, *, what: str) -> str:
    """`text`, if an object of Kubernetes may have it as its name. Raises: UsageError."""
    if not _LABEL.fullmatch(text):
        raise UsageError(f"{what} {text!a} is no DNS label: small letters, digits and '-', at most 63 characters")
    return text


def check_quantity(text: str, *, what: str) -> str:
    """`text`, if it is an amount such as `500m`, `4` or `16Gi`. Raises: UsageError."""
    if not _QUANTITY.fullmatch(text):
        raise UsageError(f"{what} {text!a} is no quantity, such as 500m, 4 or 16Gi")
    return text


def label_value(text: str) -> str:
    """A value that a label of Kubernetes may have, as close to `text` as that is."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:63].strip("_.-")


def memory_of(size: int) -> str:
    """Bytes as a quantity, rounded up to whole MiB."""
    return f"{-(-size // _MIB)}Mi" if size < 4 * _GIB else f"{-(-size // _GIB)}Gi"


def estimated(model_size: int, *, gpus: int) -> Resources:
    """What a server of a model of `model_size` bytes is given where nobody measured.

    A model is mapped or read whole into memory, and on the way to a GPU once through the host's; a server's own
    libraries take about a gibibyte, and four with CUDA.
    """
    overhead = 4 * _GIB if gpus else _GIB
    memory = memory_of(model_size + model_size // 4 + overhead)
    return Resources("4" if gpus else "1", memory, gpus, f"estimated from a model of {model_size:,} bytes")
