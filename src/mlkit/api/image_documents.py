"""The documents of an image: a config and a manifest for each platform, an index over several, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlkit.api.image_bases import Bases
from mlkit.api.session import Located
from mlkit.packing.kit import Kit
from mlkit.serving.image_base import BaseImage
from mlkit.serving.image_config import Appended, Launch, render_config, render_image, render_index
from mlkit.serving.image_source import ImageSource
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.json_text import parse_object
from mlkit.spec.manifest import Manifest
from mlkit.spec.media_types import (
    BASE_DIGEST,
    BASE_NAME,
    CREATED,
    DESCRIPTION,
    KIT_DIGEST,
    KIT_REFERENCE,
    LICENSES,
    OCI_INDEX,
    TITLE,
    VERSION,
)


class ImageDocuments:
    """The documents of an image, which the source is given."""

    def __init__(
        self,
        source: ImageSource,
        appended: Sequence[Appended],
        launch: Launch,
        annotations: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> None:
        self._source = source
        self._appended = appended
        self._launch = launch
        self._annotations = annotations
        self._labels = labels
        self._documents = 0
        self.manifests: list[Manifest] = []
        self.containers: list[dict[str, Any]] = []

    def render(self, bases: Sequence[BaseImage], *, created: str | None) -> Descriptor:
        """The image, or an index of the images for several platforms."""
        annotations = self._annotations if created is None else {**self._annotations, CREATED: created}
        for base in bases:
            config = render_config(base, self._appended, self._launch, self._labels, created=created)
            manifest = render_image(base, self._appended, config, annotations)
            self.manifests.append(manifest)
            self.containers.append(parse_object(config, what="config")["config"])
            self._add(config)
            self._add(manifest.raw)
        if len(bases) == 1:
            return self.manifests[0].descriptor.bare
        index = render_index(list(zip(bases, self.manifests, strict=True)), annotations)
        self._add(index)
        return Descriptor.of(index, OCI_INDEX)

    @property
    def size(self) -> int:
        """Bytes of everything, each digest once."""
        return sum(
            {layer.digest: layer.size for one in self.manifests for layer in one.layers}.values(), self._documents
        )

    def _add(self, raw: bytes) -> None:
        self._source.add_document(raw)
        self._documents += len(raw)


def labels_of(located: Located, kit: Kit, bases: Bases) -> dict[str, str]:
    """What the image says of itself, as labels and as annotations."""
    package = kit.kitfile.package
    told = {
        TITLE: package.name,
        VERSION: package.version,
        DESCRIPTION: package.description,
        LICENSES: package.license,
        BASE_NAME: bases.name,
        BASE_DIGEST: None if bases.digest is None else str(bases.digest),
        KIT_REFERENCE: str(located.reference),
        KIT_DIGEST: str(located.desc.digest),
    }
    return {name: text for name, text in told.items() if text}
