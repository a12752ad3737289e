"""What an image is made of, as one store to copy from: the base's blobs, layers yet to be made, our documents."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import BinaryIO, cast

from mlkit.content.storage import ReadOnlyStorage
from mlkit.content.verify import VerifyReader
from mlkit.serving.image_layers import LayerContent
from mlkit.serving.image_tree import ImageLayer
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


class ImageSource:
    """A ReadOnlyStorage. Layers are made anew each time they are opened, so that a transfer can start over."""

    def __init__(self, base: ReadOnlyStorage) -> None:
        self._base = base
        self._layers: dict[Digest, ImageLayer] = {}
        self._documents: dict[Digest, bytes] = {}

    def add_layer(self, digest: Digest, layer: ImageLayer) -> None:
        """This digest is that of this layer."""
        self._layers[digest] = layer

    def add_document(self, raw: bytes) -> None:
        """A config, manifest or index."""
        self._documents[Digest.of(raw)] = raw

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._layers or desc.digest in self._documents or self._base.exists(desc)

    def open(self, desc: Descriptor, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """See `ReadOnlyStorage.open`."""
        if desc.digest in self._documents:
            stream: BinaryIO = io.BytesIO(self._documents[desc.digest][offset:])
        elif desc.digest in self._layers:
            stream = cast(BinaryIO, LayerContent(self._layers[desc.digest]).open(offset=offset))
        else:
            return self._base.open(desc, offset=offset)
        return stream if offset else cast(BinaryIO, VerifyReader(stream, desc))
