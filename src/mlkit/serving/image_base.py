"""The image that a kit is put on: its layers as they are, and its config. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlkit.errors import IntegrityError, UnsafeError, UsageError
from mlkit.serving.image_platform import DEFAULT, Platform
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import parse_object
from mlkit.spec.manifest import Index, Manifest
from mlkit.spec.media_types import IMAGE_CONFIGS, KIT_DIGEST, OCI_LAYER

_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_LAYERS = {
    OCI_LAYER: OCI_LAYER,
    f"{OCI_LAYER}+gzip": f"{OCI_LAYER}+gzip",
    f"{OCI_LAYER}+zstd": f"{OCI_LAYER}+zstd",
    _DOCKER_LAYER: OCI_LAYER,
    f"{_DOCKER_LAYER}.gzip": f"{OCI_LAYER}+gzip",
    f"{_DOCKER_LAYER}.zstd": f"{OCI_LAYER}+zstd",
}
"""Media types of layers, and what OCI calls the same bytes."""
_FOREIGN = ("nondistributable", "foreign")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """One image for one platform."""

    platform: Platform
    layers: tuple[Descriptor, ...]
    """With OCI media types, whatever the manifest called them; the bytes are the same."""
    diff_ids: tuple[Digest, ...]
    config: Mapping[str, Any]
    """The config document as it was read."""

    @property
    def kit(self) -> str | None:
        """The digest of the kit that is in it already, by its labels; None where there is none."""
        container = self.config.get("config")
        labels = container.get("Labels") if isinstance(container, dict) else None
        found = labels.get(KIT_DIGEST) if isinstance(labels, dict) else None
        return str(found)[:100] if found else None


def scratch(platform: Platform) -> BaseImage:
    """An image with nothing in it."""
    return BaseImage(platform, (), (), {})


def parse_base(config: bytes, layers: Sequence[Descriptor], *, what: str) -> BaseImage:
    """An image by its config and the layers that its manifest lists.

    Raises: UnsafeError for layers whose bytes are kept elsewhere; UsageError for what is no container image for Linux;
    IntegrityError where config and layers disagree.
    """
    value = parse_object(config, what=f"{what}: config")
    rootfs = value.get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(listed, list) or len(listed) != len(layers):
        raise IntegrityError(f"{what}: the config does not list the diffIDs of the {len(layers)} layers")
    if value.get("config") is not None and not isinstance(value["config"], dict):
        raise IntegrityError(f"{what}: the config of the container is not an object")
    platform = Platform.of(value, what=f"{what}: config")
    if platform.os != "linux":
        raise UsageError(f"{what}: is for {platform}, and only images for Linux can be built on")
    return BaseImage(
        platform=platform,
        layers=tuple(_oci_layer(layer, what) for layer in layers),
        diff_ids=tuple(Digest.parse(one) for one in listed),
        config=value,
    )


def check_image(manifest: Manifest, *, what: str) -> None:
    """Raises: UsageError for a manifest of something else than a container image."""
    if manifest.config.media_type not in IMAGE_CONFIGS or manifest.is_kit:
        raise UsageError(
            f"{what}: is no container image (its config is {ascii(manifest.config.media_type)[:100]})",
            hint="--base takes an image with a server in it, or scratch",
        )


def choose_platforms(available: Sequence[Platform], wanted: Sequence[Platform] | None, *, what: str) -> list[Platform]:
    """Of the platforms of a base those to build for; `wanted` None: the default one, or the only one there is.

    The order is that of `available`, so that the same choice in other words gives the same image.
    Raises: UsageError naming what there is.
    """
    if wanted is None:
        chosen = [one for one in available if DEFAULT.is_met_by(one)][:1] if len(available) > 1 else list(available)
        if not chosen:
            raise UsageError(f"{what}: has no image for {DEFAULT} (it has {_listed(available)})", hint=_CHOOSE)
        return chosen
    picked: set[Platform] = set()
    for platform in wanted:
        found = [one for one in available if platform.is_met_by(one)]
        if not found:
            raise UsageError(f"{what}: has no image for {platform} (it has {_listed(available)})", hint=_CHOOSE)
        # The one with that very variant, where there is one.
        picked.add(next((one for one in found if one == platform), found[0]))
    return [one for one in available if one in picked]


def images_of(index: Index, *, what: str) -> dict[Platform, Descriptor]:
    """The images for Linux that an index lists, by platform.

    Raises: IntegrityError for an entry without a platform; UsageError for an index without images.
    """
    found: dict[Platform, Descriptor] = {}
    for entry in index.manifests:
        if entry.platform is None:
            raise IntegrityError(f"{what}: the index lists {entry.digest} without a platform")
        # Layers of Windows have another form, and BuildKit lists attestations as images of a system called unknown.
        if entry.platform.get("os") == "linux":
            found.setdefault(Platform.of(entry.platform, what=what), entry)
    if not found:
        raise UsageError(f"{what}: the index lists no container image for Linux")
    return found


_CHOOSE = "--platform chooses one, several separated by commas, or all"


def _listed(platforms: Sequence[Platform]) -> str:
    return ", ".join(str(platform) for platform in sorted(platforms)[:20]) or "none"


def _oci_layer(layer: Descriptor, what: str) -> Descriptor:
    kind = _LAYERS.get(layer.media_type)
    if kind is not None:
        return replace(layer, media_type=kind, data=None, annotations={})
    if any(word in layer.media_type for word in _FOREIGN):
        # Its bytes are at a URL that the manifest names, and such URLs are never followed (B13).
        raise UnsafeError(
            f"{what}: the layer {layer.digest} may not be distributed and is kept elsewhere "
            f"({ascii(layer.media_type)[:100]})",
            hint="push the base with all its layers into a registry of yours first",
        )
    raise UsageError(f"{what}: {ascii(layer.media_type)[:100]} is no layer of a container image")
