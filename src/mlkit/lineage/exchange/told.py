"""What events of OpenLineage say, as links: the way in, as `openlineage` is the way out.

A run that was completed read its inputs and wrote its outputs, whichever of its events named them (some tools name the
inputs when it starts and the outputs when it ends). Runs that failed, or never ended, say nothing. Anybody may have
written such a file: what it says is stated, and never proved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mlkit.errors import IntegrityError, LimitError, MlkitError
from mlkit.lineage.facts import KitFacts
from mlkit.lineage.graph import Edge, EdgeKind, Evidence, Node, NodeKind, node_of, node_of_uri
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object, render_json

EVENT_LIMIT = 1024 * 1024
"""Bytes of one event; those of large jobs, with schemas of their tables, have some ten thousand."""
RUN_LIMIT = 100_000
"""Runs of one file."""
_SETS = 10_000  # inputs or outputs of one run
_LINKS = 40_000  # each output comes from each input
_SAID = "OpenLineage"


@dataclass(frozen=True, slots=True)
class ToldRun:
    """A run that was completed."""

    run_id: str
    facts: KitFacts
    """Known by the digest of its events; it is no kit, and holds none."""


def told_runs(lines: Iterable[bytes], *, what: str) -> tuple[ToldRun, ...]:
    """The completed runs in a file of events, a JSON object on each line.

    Raises: IntegrityError for a line that is no event, with its number; LimitError.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{what}: line {number}"
        event = parse_object(line, what=where, limit=EVENT_LIMIT)
        run = event.get("run")
        run_id = run.get("runId") if isinstance(run, dict) else None
        if not isinstance(run_id, str) or not run_id:
            if "job" in event or "dataset" in event:
                continue  # a JobEvent or DatasetEvent, which tell of no run
            raise IntegrityError(f"{where}: is no event of OpenLineage: it has no run with a runId")
        if run_id not in runs and len(runs) >= RUN_LIMIT:
            raise LimitError(f"{what}: more than {RUN_LIMIT} runs")
        runs.setdefault(run_id, []).append(event)
    return tuple(
        ToldRun(run_id, _facts(events))
        for run_id, events in runs.items()
        if any(event.get("eventType") == "COMPLETE" for event in events)
    )


def _facts(events: list[dict[str, Any]]) -> KitFacts:
    digest = Digest.of(b"\n".join(render_json(event) for event in events))
    evidence = Evidence(_SAID, digest)
    inputs, outputs = (_nodes(events, key) for key in ("inputs", "outputs"))
    links = (
        Edge(made, origin, EdgeKind.DERIVED, evidence, role="dataset", name=name)
        for made in outputs
        for origin, name in inputs.items()
        if origin.key != made.key
    )
    edges = tuple(islice(links, _LINKS + 1))
    job = events[-1].get("job")
    title = job.get("name") if isinstance(job, dict) else None
    # What is cut off is told: a lineage with a hole in it must not look whole.
    is_cut = len(edges) > _LINKS or max(len(inputs), len(outputs)) >= _SETS
    problem = f"a run with more than {_LINKS} links or {_SETS} datasets: the rest is left out" if is_cut else None
    return KitFacts(digest, title=title if isinstance(title, str) else None, edges=edges[:_LINKS], problem=problem)


def _nodes(events: list[dict[str, Any]], key: str) -> dict[Node, str]:
    found: dict[Node, str] = {}
    for event in events:
        listed = event.get(key)
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, dict) and len(found) < _SETS:
                for node in _node(item):
                    found.setdefault(node, f"{item.get('namespace')}/{item.get('name')}"[:1000])
    return found


def _node(item: dict[str, Any]) -> Iterable[Node]:
    """The things that a dataset of an event is: by its version, where that is a digest, and by its address."""
    namespace, name = item.get("namespace"), item.get("name")
    facets = item.get("facets")
    version = facets.get("version") if isinstance(facets, dict) else None
    told = version.get("datasetVersion") if isinstance(version, dict) else None
    is_kit = isinstance(namespace, str) and namespace.startswith("oci://")
    if isinstance(told, str) and told.startswith(("sha256:", "sha512:")):
        # What looks like a digest and is none is no name of anything.
        with contextlib.suppress(MlkitError):
            yield node_of(Digest.parse(told), NodeKind.KIT if is_kit else NodeKind.CONTENT)
    if isinstance(namespace, str) and isinstance(name, str) and namespace and name and not is_kit:
        address = f"{namespace.rstrip('/')}/{name.lstrip('/')}" if "://" in namespace else f"{namespace}:{name}"
        try:
            yield node_of_uri(name if namespace == "content" else address, NodeKind.DATASET)
        except MlkitError:
            return
