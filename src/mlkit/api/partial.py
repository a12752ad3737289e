"""Kits of which layers are not here on purpose: where the rest is, and how to come by it."""

from __future__ import annotations

from mlkit.errors import UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.media_types import ORIGIN
from mlkit.spec.reference import Reference

NOT_HERE = "`mlkit fsck --repair` fetches it from where it was seen; or pull or pack the kit again"
"""What to do about content of a whole kit that is not in the local store."""
CAME_BROKEN = (
    "it came so from {place}, and nothing of it is kept; if that stays so, the kit is to be pushed there again"
)
"""What to do about content that is read from a registry; nothing in the local store is to blame."""


def place_of_rest(reference: Reference, desc: Descriptor) -> Reference | None:
    """Where layers that are not here are, of a kit by its name and the entry of the local store; None if nobody knows.

    Where it was pulled from, under a name of the user's own too; else the registry that the name says.
    """
    origin = _origin(desc)
    if origin is None or origin.name == reference.name:
        return reference if reference.host is not None else None
    return origin.with_digest(desc.digest)


def how_to_complete(reference: Reference, desc: Descriptor) -> str:
    """A hint."""
    place = place_of_rest(reference, desc)
    return NOT_HERE if place is None else f"`mlkit pull {place}` fetches the rest"


def _origin(desc: Descriptor) -> Reference | None:
    text = desc.annotations.get(ORIGIN)
    try:
        return None if text is None else Reference.parse(text)
    except UsageError:  # another program wrote it
        return None
