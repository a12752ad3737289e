"""Who still needs some content: what is part of a manifest that is here cannot be deleted alone (threats.md, I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.content.graph import walk
from mlkit.content.layout import Layout
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


def holders(layout: Layout, digest: Digest) -> Iterator[Descriptor]:
    """The manifests and indexes in the layout that content which is there is part of, without itself.

    Raises: IntegrityError where a manifest is damaged, and nobody can tell.
    """
    for manifest in layout.manifests():
        if manifest.digest == digest:
            continue
        # A partial kit is walked as far as it is there.
        present = walk(layout, manifest, wanted=lambda desc: layout.blob_size(desc.digest) is not None)
        if any(desc.digest == digest for desc, _ in present):
            yield manifest
