"""Documents for `kubectl apply`: a Deployment, its Service, and what keeps one pod there while nodes are drained."""

from __future__ import annotations

from typing import Any

from mlkit.serving.deploy.deployment import Deployment
from mlkit.serving.deploy.pods import annotations_of, labels_of, metadata_of, pod_spec, selector_of

_ROLLOUT_SECONDS = 3600  # a rollout that has not come further for so long has failed: cold nodes pull for a while


def kubernetes(deployment: Deployment) -> list[dict[str, Any]]:
    """The documents, in the order in which they are applied."""
    documents = [_deployment(deployment), _service(deployment)]
    if deployment.replicas > 1:
        documents.append(_disruption_budget(deployment))
    return documents


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata_of(deployment),
        "spec": {
            "replicas": deployment.replicas,
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": _ROLLOUT_SECONDS,
            # The new one answers before an old one goes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector_of(deployment)},
            "template": {
                "metadata": {"labels": labels_of(deployment), "annotations": annotations_of(deployment)},
                "spec": pod_spec(deployment),
            },
        },
    }


def _service(deployment: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(deployment),
        "spec": {
            "selector": selector_of(deployment),
            "ports": [{"name": "http", "port": 80, "targetPort": deployment.port, "protocol": "TCP"}],
        },
    }


def _disruption_budget(deployment: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata_of(deployment),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": selector_of(deployment)}},
    }
