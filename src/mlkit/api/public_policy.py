"""The public Python API of policies, bills of materials and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlkit.api import boms, comparing, policies
from mlkit.api.public import PathLike, _using
from mlkit.api.session import Session
from mlkit.api.variants import Choice, Select
from mlkit.packing.bom import SpecVersion
from mlkit.spec.reference import Reference
from mlkit.trust.policy_report import PolicyReport


def explain_policy(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    remote: bool = False,
    session: Session | None = None,
) -> PolicyReport:
    """Which rule of the policy is for a kit, and what came of it; nothing is refused.

    The policy is that of the session: `mlkit.session(policy="mlkit-policy.yaml")`, `MLKIT_POLICY`, or the setting.
    """
    with _using(session, None) as using:
        choice = Choice.parse(labels, select)
        return policies.explain(using, Reference.parse(reference), choice=choice, remote=remote)


def sbom(
    reference: str,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    spec_version: SpecVersion = "1.6",
    remote: bool = False,
    session: Session | None = None,
) -> dict[str, Any]:
    """The bill of materials of a kit, in CycloneDX; no layer is fetched."""
    with _using(session, None) as using:
        choice = Choice.parse(labels, select)
        return boms.bom(using, Reference.parse(reference), choice=choice, spec_version=spec_version, remote=remote)


def compare(
    reference: str,
    directory: PathLike,
    *,
    labels: Iterable[str] = (),
    select: Select | None = None,
    filters: Iterable[str] = (),
    remote: bool = False,
    session: Session | None = None,
) -> comparing.DirectoryReport:
    """What is missing, extra or changed in a directory that a kit was unpacked into; no layer is fetched."""
    with _using(session, None) as using:
        return comparing.compare(
            using,
            Reference.parse(reference),
            Path(directory),
            choice=Choice.parse(labels, select),
            filters=tuple(filters),
            remote=remote,
        )
