"""`mlkit.build_image`: container images of kits, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from mlkit.api import images as api
from mlkit.api.public import PathLike, _using
from mlkit.api.session import Session
from mlkit.progress import Progress
from mlkit.serving.image_config import Launch
from mlkit.serving.image_places import parse_base, parse_target
from mlkit.serving.image_platform import Platform
from mlkit.spec.reference import Reference


def build_image(
    reference: str,
    target: str,
    *,
    base: str,
    platforms: Sequence[str] | Literal["all"] | None = None,
    filters: Sequence[str] = (),
    runtime: str | None = None,
    entrypoint: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    user: str | None = None,
    workdir: str | None = None,
    sign: PathLike | None = None,
    provenance: bool = False,
    remote: bool = False,
    session: Session | None = None,
    progress: Progress | None = None,
) -> api.BuiltImage:
    """Put a kit on a base image; `base` and `target` are written as on the command line."""
    options = api.ImageOptions(
        platforms=platforms if platforms is None or platforms == "all" else [Platform.parse(one) for one in platforms],
        filters=tuple(filters),
        runtime=runtime,
        launch=Launch(
            entrypoint=None if entrypoint is None else tuple(entrypoint),
            command=None if command is None else tuple(command),
            env=env or {},
            user=user,
            workdir=workdir,
        ),
        labels=labels or {},
        key=None if sign is None else Path(sign),
        is_signed=sign is not None,
        has_provenance=provenance,
    )
    places = parse_base(base), parse_target(target)
    with _using(session, progress) as using:
        return api.build_image(using, Reference.parse(reference), *places, options, remote=remote)
