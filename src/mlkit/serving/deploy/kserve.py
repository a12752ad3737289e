"""Documents for KServe, and for a challenger that answers a copy of the traffic and nobody hears.

KServe, "Custom predictor": a predictor is a pod whose container is called `kserve-container`. Istio,
"Mirroring": what a mirror answers is thrown away.
"""

from __future__ import annotations

from typing import Any

from mlkit.serving.deploy.deployment import Deployment
from mlkit.serving.deploy.pods import annotations_of, labels_of, metadata_of, pod_spec

_PREDICTOR = "-predictor"


def kserve(deployment: Deployment) -> list[dict[str, Any]]:
    """One InferenceService."""
    return [_inference_service(deployment)]


def shadowed(champion: Deployment, challenger: Deployment, *, percent: int) -> list[dict[str, Any]]:
    """Both services, and the route by which `percent` of what the champion is asked goes to the challenger as well."""
    return [_inference_service(champion), _inference_service(challenger), _route(champion, challenger, percent)]


def _inference_service(deployment: Deployment) -> dict[str, Any]:
    predictor: dict[str, Any] = {"minReplicas": deployment.replicas}
    if deployment.max_replicas is not None:
        predictor["maxReplicas"] = deployment.max_replicas
    predictor |= {
        "labels": labels_of(deployment),
        "annotations": annotations_of(deployment),
        **pod_spec(deployment, container="kserve-container"),
    }
    found = metadata_of(deployment)
    # Without Knative, so that probes, init containers and volumes are all as they stand here.
    found["annotations"] = {**found["annotations"], "serving.kserve.io/deploymentMode": "RawDeployment"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": found,
        "spec": {"predictor": predictor},
    }


def _route(champion: Deployment, challenger: Deployment, percent: int) -> dict[str, Any]:
    host, mirror = f"{champion.name}{_PREDICTOR}", f"{challenger.name}{_PREDICTOR}"
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata_of(champion, f"{champion.name}-shadow"),
        "spec": {
            "hosts": [host],
            "http": [
                {
                    "route": [{"destination": {"host": host, "port": {"number": 80}}, "weight": 100}],
                    "mirror": {"host": mirror, "port": {"number": 80}},
                    "mirrorPercentage": {"value": percent},
                }
            ],
        },
    }
