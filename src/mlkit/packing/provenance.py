"""SLSA provenance, version 1, of a kit that was packed: what was asked for, from what, by whom and when.

slsa.dev/spec/v1.0/provenance. Nothing here does I/O, and the clock is the caller's: the kit itself knows no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlkit.packing.plan import PackPlan
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import InputRecord

BUILD_TYPE = "https://mlkit.dev/pack/v1"
"""What our provenance says of how a kit came to be: the fields are those of `pack_provenance`."""
LOCAL_BUILDER = "https://mlkit.dev/cli"
"""The builder where no CI service is one: somebody's machine."""


@dataclass(frozen=True, slots=True)
class BuildRun:
    """One run of `mlkit pack`."""

    version: str
    """Of mlkit."""
    started: str
    """RFC 3339, like `finished`."""
    finished: str
    builder_id: str = LOCAL_BUILDER
    invocation: str | None = None
    """URL of a CI job."""
    user: str | None = None
    """Who ran it, where no CI service did."""
    ci: Mapping[str, str] = field(default_factory=dict)
    """What the CI service says of the job."""


def pack_provenance(
    plan: PackPlan, run: BuildRun, *, references: Sequence[str] = (), revision: InputRecord | None = None
) -> dict[str, Any]:
    """The predicate; `revision` is the state of the working tree, where the plan's inputs do not tell it."""
    inputs = [*plan.inputs, *([revision] if revision is not None else [])]
    return {
        "buildDefinition": build_definition(plan, inputs, run, references),
        "runDetails": {
            "builder": {"id": run.builder_id, "version": {"mlkit": run.version}},
            "metadata": _without_none(
                {"invocationId": run.invocation, "startedOn": run.started, "finishedOn": run.finished}
            ),
        },
    }


def build_definition(
    plan: PackPlan, inputs: Sequence[InputRecord], run: BuildRun, references: Sequence[str]
) -> dict[str, Any]:
    """The part that is the same for two runs that did the same."""
    options = plan.options
    kitfile = Digest.of(plan.kitfile_text.encode("utf-8"))
    ci = {name: text for name, text in run.ci.items() if name not in _OF_ONE_RUN}
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "kitfile": {"digest": {kitfile.algorithm: kitfile.hex}},
            "format": options.format,
            "layers": options.layers,
            "compression": options.compression,
            **({"annotations": dict(options.annotations)} if options.annotations else {}),
            **({"references": list(references)} if references else {}),
        },
        "internalParameters": _without_none({"ci": ci or None, "user": run.user}),
        "resolvedDependencies": [_dependency(one) for one in inputs],
    }


_OF_ONE_RUN = frozenset({"run_id", "run_attempt", "job_id", "pipeline", "runner_id"})


def _dependency(record: InputRecord) -> dict[str, Any]:
    facts = dict(record.facts)
    digests = {record.digest.algorithm: record.digest.hex} if record.digest is not None else {}
    # in-toto's names for digests, spec/v1/digest_set.md
    digests |= {name: facts[fact] for name, fact in (("gitCommit", "git.commit"), ("md5", "dvc.md5")) if fact in facts}
    return _without_none(
        {
            "name": record.name,
            "uri": f"oci://{record.ref}" if record.ref is not None else record.uri,
            "digest": digests or None,
            "annotations": {"role": record.role, **facts, **({"path": record.path} if record.path else {})},
        }
    )


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}
