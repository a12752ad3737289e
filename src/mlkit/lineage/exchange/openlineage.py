"""Events of OpenLineage, for Marquez and other catalogues: how each kit of a tree was made.

OpenLineage 2-0-2, `RunEvent`; "Naming Conventions" for datasets. A kit says nothing of when it was packed, so the time
of an event is that of the export, and its run has the same id each time: a catalogue takes it for one run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mlkit.lineage.answer import Step, Thing, Tree
from mlkit.lineage.graph import NodeKind

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION_FACET = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
)
EVIDENCE_FACET = "https://mlkit.dev/schemas/openlineage-evidence-v1.json"
_JOBS = "mlkit"
"""The namespace of the jobs: packing is no job of anybody's scheduler."""
_CONTENT = "content"
"""The namespace of bytes that are known by their digest alone."""


def events(tree: Tree, *, at: datetime, producer: str) -> list[dict[str, Any]]:
    """One event for every kit of the tree that has an origin in it, the earliest kits first.

    `producer` is a URI of what made the events.
    """
    made: dict[str, tuple[Thing, dict[str, Step]]] = {}
    for kit, origin, step in _links(tree):
        if kit.kind is NodeKind.KIT:
            made.setdefault(kit.key, (kit, {}))[1].setdefault(origin.key, step)
    moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    depth = _depths({key: frozenset(origins) for key, (_, origins) in made.items()})
    order = sorted(made, key=lambda key: (depth[key], key))
    things = {thing.key: thing for thing in _things(tree)}
    return [_event(made[key][0], made[key][1], things, moment, producer) for key in order]


def _event(
    kit: Thing, origins: Mapping[str, Step], things: Mapping[str, Thing], moment: str, producer: str
) -> dict[str, Any]:
    return {
        "eventTime": moment,
        "producer": producer,
        "schemaURL": SCHEMA,
        "eventType": "COMPLETE",
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"oci:{kit.key}")), "facets": {}},
        "job": {"namespace": _JOBS, "name": f"pack {_name_of(kit)[1]}", "facets": {}},
        "inputs": [_dataset(things[key], producer, step) for key, step in origins.items()],
        "outputs": [_dataset(kit, producer, None)],
    }


def _dataset(thing: Thing, producer: str, step: Step | None) -> dict[str, Any]:
    namespace, name = _name_of(thing)
    facets: dict[str, Any] = {}
    if thing.key.startswith(("sha256:", "sha512:", "md5:")):
        facets["version"] = {"_producer": producer, "_schemaURL": _VERSION_FACET, "datasetVersion": thing.key}
    if step is not None:
        evidence = step.evidence
        facets["mlkit_evidence"] = {
            "_producer": producer,
            "_schemaURL": EVIDENCE_FACET,
            "role": step.role,
            "standing": step.standing.value,
            "where": evidence.where if evidence else None,
            "digest": evidence.digest if evidence else None,
            "signedBy": list(evidence.signed_by) if evidence else [],
        }
    return {"namespace": namespace, "name": name, "facets": facets}


def _name_of(thing: Thing) -> tuple[str, str]:
    """Namespace and name, by the naming conventions where they have a rule."""
    if thing.kind is NodeKind.KIT:
        text = thing.text.removeprefix("oci://")
        host, slash, rest = text.partition("/")
        # What stands before the first slash is a host only with a dot or a port, as in references.
        if slash and ("." in host or ":" in host or host == "localhost"):
            return f"oci://{host}", rest.partition("@")[0].rpartition(":")[0] or rest
        return "oci://local", text.rpartition(":")[0] or text
    parts = urlsplit(thing.key) if "://" in thing.key else None
    if parts is not None and parts.scheme:
        return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"
    return _CONTENT, thing.key


def _links(tree: Tree) -> Iterator[tuple[Thing, Thing, Step]]:
    """Later thing, earlier thing, and the step that says so."""
    for branches, is_origin in ((tree.origins, True), (tree.results, False)):
        waiting = [(tree.thing, branch) for branch in branches]
        while waiting:
            near, branch = waiting.pop()
            far = branch.step.thing
            yield (near, far, branch.step) if is_origin else (far, near, branch.step)
            waiting += [(far, further) for further in branch.branches]


def _things(tree: Tree) -> Iterator[Thing]:
    yield tree.thing
    for _, origin, step in _links(tree):
        yield origin
        yield step.thing


def _depths(origins: dict[str, frozenset[str]]) -> dict[str, int]:
    """How many kits each kit stands on, at most; a circle, which only tags can make, counts as nothing."""
    depth = dict.fromkeys(origins, 0)
    for _ in range(len(origins)):
        better = {
            key: max((depth[one] + 1 for one in above if one in depth and one != key), default=0)
            for key, above in origins.items()
        }
        if better == depth:
            break
        depth = {key: min(count, len(origins)) for key, count in better.items()}
    return depth
