"""Documents for Knative Serving, which starts a server when it is asked and stops it when nobody asks.

Knative, "Configuring scale bounds" and "Kubernetes PodSpec features": init containers and image volumes are behind
flags of the cluster.
"""

from __future__ import annotations

from typing import Any

from mlkit.serving.deploy.deployment import Deployment
from mlkit.serving.deploy.pods import annotations_of, labels_of, metadata_of, pod_spec

_TIMEOUT_SECONDS = 600  # Knative's own limit unless the cluster raises it


def knative(deployment: Deployment, *, min_scale: int = 0) -> list[dict[str, Any]]:
    """One Service; with a `min_scale` of 0 it goes to sleep."""
    scale = {
        "autoscaling.knative.dev/min-scale": str(min_scale),
        "autoscaling.knative.dev/max-scale": str(deployment.max_replicas or max(deployment.replicas, 1)),
    }
    return [
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": metadata_of(deployment),
            "spec": {
                "template": {
                    "metadata": {
                        "labels": labels_of(deployment),
                        "annotations": {**annotations_of(deployment), **scale},
                    },
                    "spec": {"timeoutSeconds": _TIMEOUT_SECONDS, **_pod(deployment)},
                }
            },
        }
    ]


def _pod(deployment: Deployment) -> dict[str, Any]:
    spec = pod_spec(deployment, has_probes=False)
    (server,) = spec["containers"]
    ready = {"httpGet": {"path": deployment.command.ready, "port": deployment.port}}
    # Knative starts at the readiness probe, has no startup probe in older versions, and sets the grace period itself.
    server["readinessProbe"] = {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 120}
    return spec


def flags_needed(deployment: Deployment) -> tuple[str, ...]:
    """What the cluster's `config-features` must enable for this service."""
    flags = ["kubernetes.podspec-securitycontext"]
    if deployment.source == "init":
        flags += ["kubernetes.podspec-init-containers", "kubernetes.podspec-volumes-emptydir"]
    if deployment.source == "image-volume":
        flags.append("kubernetes.podspec-volumes-image")
    if deployment.source == "csi":
        flags.append("kubernetes.podspec-volumes-csi")
    if deployment.needs_gpu:
        flags += ["kubernetes.podspec-tolerations", "kubernetes.podspec-volumes-emptydir"]
    return tuple(sorted(set(flags)))
