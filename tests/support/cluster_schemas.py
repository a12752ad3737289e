"""What the APIs of clusters publish of themselves, to hold documents against: strictly, unknown fields are errors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

CRDS = Path(__file__).parents[3] / "shared/data/crds"
VERSION = "1.34"
"""Of Kubernetes; the newest that clouds offer everywhere is about here."""


def check(document: dict[str, Any]) -> None:
    """Hold a document against the schema of its kind. Skips where that cannot be had; fails where it does not fit."""
    group = document["apiVersion"].partition("/")[0]
    if group == "serving.kserve.io":
        check_pod({key: value for key, value in document["spec"]["predictor"].items() if key in _POD_KEYS})
        _check_custom(document, "kserve-inferenceservice.yaml")
    elif group == "serving.knative.dev":
        pod = document["spec"]["template"]["spec"]
        check_pod({key: value for key, value in pod.items() if key in _POD_KEYS})
        _check_custom(document, "knative-service.yaml")
    else:
        kubernetes_validate.validate(document, VERSION, strict=True)


def check_pod(spec: dict[str, Any]) -> None:
    """Hold the spec of a pod against Kubernetes' own schema."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(pod, VERSION, strict=True)


_POD_KEYS = frozenset(
    {
        "automountServiceAccountToken",
        "containers",
        "imagePullSecrets",
        "initContainers",
        "securityContext",
        "terminationGracePeriodSeconds",
        "tolerations",
        "volumes",
    }
)


def _check_custom(document: dict[str, Any], name: str) -> None:
    if not (CRDS / name).is_file():
        pytest.skip(f"{name} is not here; the pod in it fits Kubernetes' schema")
    error = jsonschema.exceptions.best_match(
        _validator(name, document["apiVersion"].rpartition("/")[2]).iter_errors(document)
    )
    if error is not None:
        raise error


@cache
def _validator(name: str, version: str) -> jsonschema.Draft202012Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load((CRDS / name).read_text(encoding="utf-8"), Loader=loader)
    (found,) = [one for one in definition["spec"]["versions"] if one["name"] == version]
    schema = _strict(found["schema"]["openAPIV3Schema"])
    # Of every object, and not repeated in a definition.
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema: what it does not name is not allowed (pruning would drop it unsaid)."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("anyOf", None)
        found.pop("pattern", None)
        return {**found, "type": ["integer", "string"]}
    if "properties" in found:
        found["properties"] = {key: _strict(value) for key, value in found["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in found:
            found["additionalProperties"] = False
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _strict(found["additionalProperties"])
    if "items" in found:
        found["items"] = _strict(found["items"])
    return found
