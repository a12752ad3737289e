"""The pod of a deployment: what Kubernetes, KServe and Knative have in common."""

from __future__ import annotations

import posixpath
from typing import Any

from mlkit.serving.deploy.deployment import IMAGE_ROOT, MODEL_ROOT, REPOSITORY, UNPRIVILEGED, Deployment, label_value
from mlkit.spec.media_types import KIT_DIGEST, KIT_REFERENCE

CSI_DRIVER = "model.csi.modelpack.org"
"""model-csi-driver of ModelPack, docs/getting-started.md."""
GPU = "nvidia.com/gpu"

_MODEL = "model"
_PERIOD = 10
_GRACE_SECONDS = 120  # requests of language models take their time
_DRAIN_SECONDS = 10  # until every proxy knows that the pod is going


def metadata_of(deployment: Deployment, name: str | None = None) -> dict[str, Any]:
    """With labels to select by, and the kit's version and digest for people and monitoring."""
    found: dict[str, Any] = {"name": name or deployment.name}
    if deployment.namespace is not None:
        found["namespace"] = deployment.namespace
    found["labels"] = labels_of(deployment)
    found["annotations"] = annotations_of(deployment)
    return found


def labels_of(deployment: Deployment) -> dict[str, str]:
    """Those that may change with the kit are beside those that select."""
    found = {**selector_of(deployment), "app.kubernetes.io/managed-by": "mlkit"}
    if deployment.kit.version is not None and label_value(deployment.kit.version):
        found["app.kubernetes.io/version"] = label_value(deployment.kit.version)
    return {**found, **deployment.labels}


def selector_of(deployment: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": deployment.name, "app.kubernetes.io/component": "model-server"}


def annotations_of(deployment: Deployment) -> dict[str, str]:
    kit = deployment.kit
    return {KIT_REFERENCE: f"{kit.repository}:{kit.tag}" if kit.tag else kit.repository, KIT_DIGEST: str(kit.digest)}


def pod_spec(deployment: Deployment, *, has_probes: bool = True, container: str = "server") -> dict[str, Any]:
    """The whole pod."""
    spec: dict[str, Any] = {}
    if deployment.pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": deployment.pull_secret}]
    spec |= {
        "automountServiceAccountToken": False,
        "securityContext": {"fsGroup": UNPRIVILEGED, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if deployment.source == "init":
        spec["initContainers"] = [_init_container(deployment)]
    spec["containers"] = [_server(deployment, has_probes=has_probes, name=container)]
    if deployment.needs_gpu:
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    if has_probes:
        spec["terminationGracePeriodSeconds"] = _GRACE_SECONDS
    found = _volumes(deployment)
    if found:
        spec["volumes"] = found
    return spec


def _init_container(deployment: Deployment) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [
        {"name": _MODEL, "mountPath": MODEL_ROOT},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  # a path in a container of its own
    ]
    if deployment.pull_secret is not None:
        mounts.append({"name": "auth", "mountPath": "/etc/mlkit/auth", "readOnly": True})
    if deployment.policy_config_map is not None:
        mounts.append({"name": "policy", "mountPath": "/etc/mlkit/policy", "readOnly": True})
    return {
        "name": "unpack",
        "image": deployment.init_image,
        "args": list(deployment.unpack_arguments),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "MLKIT_HOME", "value": "/tmp/mlkit"}],  # noqa: S108
        "resources": {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": UNPRIVILEGED,
            "runAsGroup": UNPRIVILEGED,
        },
        "volumeMounts": mounts,
    }


def _server(deployment: Deployment, *, has_probes: bool, name: str) -> dict[str, Any]:
    command, resources = deployment.command, deployment.resources
    found: dict[str, Any] = {"name": name, "image": deployment.image}
    # An image with the kit in it knows how it starts.
    if deployment.source != "image":
        found["command"] = list(command.argv)
    if deployment.own_arguments:
        found["args"] = list(deployment.own_arguments)
    environ = {**command.environ, "MLKIT_KIT": deployment.kit.pinned, "MLKIT_KIT_VERSION": deployment.kit.version or ""}
    found["env"] = [{"name": key, "value": value} for key, value in environ.items()]
    found["ports"] = [{"name": "http1", "containerPort": deployment.port, "protocol": "TCP"}]
    limits = {
        "memory": resources.memory_limit or resources.memory,
        **({GPU: str(resources.gpus)} if resources.gpus else {}),
    }
    requests = {"cpu": resources.cpu, "memory": resources.memory}
    found["resources"] = {"requests": requests, "limits": limits}
    if has_probes:
        found |= _probes(deployment)
        found["lifecycle"] = {"preStop": {"sleep": {"seconds": _DRAIN_SECONDS}}}
    found["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounts = _mounts(deployment)
    if mounts:
        found["volumeMounts"] = mounts
    return found


def _probes(deployment: Deployment) -> dict[str, Any]:
    ready = {"httpGet": {"path": deployment.command.ready, "port": deployment.port}}
    alive = {"httpGet": {"path": deployment.command.health, "port": deployment.port}}
    return {
        "startupProbe": {
            **ready,
            "periodSeconds": _PERIOD,
            "failureThreshold": -(-deployment.resources.startup_seconds // _PERIOD),
        },
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**alive, "periodSeconds": _PERIOD, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _mounts(deployment: Deployment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if deployment.source != "image":
        root = IMAGE_ROOT if deployment.source == "image-volume" else MODEL_ROOT
        found.append({"name": _MODEL, "mountPath": root, "readOnly": True})
        for placed in deployment.command.placed:
            target = posixpath.join(REPOSITORY, placed.target)
            found.append({"name": _MODEL, "mountPath": target, "subPath": placed.source, "readOnly": True})
    if deployment.needs_gpu:
        # Tensor parallelism passes tensors between processes there, and containers have 64 MiB of it.
        found.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return found


def _volumes(deployment: Deployment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if deployment.source == "init":
        # A quarter more: what is unpacked again after a restart lies beside what is there until it is whole.
        limit = f"{-(-deployment.kit.size * 9 // (4 << 20))}Mi"
        found.append({"name": _MODEL, "emptyDir": {"sizeLimit": limit}})
        found.append({"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}})
    elif deployment.source == "image-volume":
        found.append({"name": _MODEL, "image": {"reference": deployment.model_image, "pullPolicy": "IfNotPresent"}})
    elif deployment.source == "csi":
        attributes = {f"{CSI_DRIVER}/reference": deployment.kit.pinned}
        found.append({"name": _MODEL, "csi": {"driver": CSI_DRIVER, "readOnly": True, "volumeAttributes": attributes}})
    if deployment.source == "init" and deployment.pull_secret is not None:
        item = {"key": ".dockerconfigjson", "path": "config.json"}
        found.append({"name": "auth", "secret": {"secretName": deployment.pull_secret, "items": [item]}})
    if deployment.source == "init" and deployment.policy_config_map is not None:
        found.append({"name": "policy", "configMap": {"name": deployment.policy_config_map}})
    if deployment.needs_gpu:
        found.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    return found
