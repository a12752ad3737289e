"""Who still needs some content: what is part of a manifest that is here cannot be deleted alone (threats.md, I7)."""

from __future__ import annotations

from mlkit.content.graph import walk
from mlkit.content.layout import Layout
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest


def holder(layout: Layout, digest: Digest) -> Descriptor | None:
    """A manifest or index in the layout, other than itself, that content which is there is part of.

    Raises: IntegrityError where a manifest is damaged, and nobody can tell.
    """
    for manifest in layout.manifests():
        if manifest.digest == digest:
            continue
        # A partial kit is walked as far as it is there.
        present = walk(layout, manifest, wanted=lambda desc: layout.blob_size(desc.digest) is not None)
        if any(desc.digest == digest for desc, _ in present):
            return manifest
    return None
