"""A document for Compose: the kit is unpacked into a volume, and the server starts when that is done."""

from __future__ import annotations

import posixpath
from typing import Any

from mlkit.errors import UsageError
from mlkit.serving.deploy.deployment import MODEL_ROOT, REPOSITORY, UNPRIVILEGED, Deployment
from mlkit.serving.deploy.pods import annotations_of


def compose(deployment: Deployment) -> list[dict[str, Any]]:
    """One document. Raises: UsageError for what Compose has no word for."""
    if deployment.source in ("csi", "image-volume"):
        raise UsageError(f"Compose mounts no {deployment.source}", hint="--source init or --source image")
    services: dict[str, Any] = {}
    if deployment.source == "init":
        services["unpack"] = {
            "image": deployment.init_image,
            "command": list(deployment.unpack_arguments),
            "user": f"{UNPRIVILEGED}:{UNPRIVILEGED}",
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108  # a path in a container of its own
            "environment": {"HOME": "/tmp", "MLKIT_HOME": "/tmp/mlkit"},  # noqa: S108
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "volumes": [f"model:{MODEL_ROOT}"],
        }
    services["server"] = _server(deployment)
    document: dict[str, Any] = {"name": deployment.name, "services": services}
    if deployment.source == "init":
        document["volumes"] = {"model": {}}
    return [document]


def _server(deployment: Deployment) -> dict[str, Any]:
    command = deployment.command
    service: dict[str, Any] = {"image": deployment.image}
    if deployment.source == "init":
        # Whatever the image would start by itself: it is in the words that follow.
        service |= {"entrypoint": [command.argv[0]], "command": [*command.argv[1:], *deployment.own_arguments]}
        service["depends_on"] = {"unpack": {"condition": "service_completed_successfully"}}
        service["volumes"] = [f"model:{MODEL_ROOT}:ro", *_placed(deployment)]
    elif deployment.own_arguments:
        service["command"] = list(deployment.own_arguments)
    service |= {
        "environment": {**command.environ, "MLKIT_KIT": deployment.kit.pinned},
        "ports": [f"127.0.0.1:{deployment.port}:{deployment.port}"],
        "labels": annotations_of(deployment),
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": (deployment.resources.memory_limit or deployment.resources.memory).replace("i", "").lower(),
    }
    if deployment.needs_gpu:
        device = {"driver": "nvidia", "count": deployment.resources.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
        service["ipc"] = "host"
    return service


def _placed(deployment: Deployment) -> list[dict[str, Any]]:
    return [
        {
            "type": "volume",
            "source": "model",
            "target": posixpath.join(REPOSITORY, placed.target),
            "read_only": True,
            "volume": {"subpath": placed.source},
        }
        for placed in deployment.command.placed
    ]
