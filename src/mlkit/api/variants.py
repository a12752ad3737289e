"""One kit out of an index of kits: by labels, or by the GPU of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from mlkit.api.session import Located, Session, explained_trouble
from mlkit.content.storage import read_blob
from mlkit.errors import UsageError
from mlkit.packing.variants import Pick, Requirement, best_for, choose
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.kit_index import KitIndex
from mlkit.spec.media_types import INDEX_TYPES, ORIGIN, PARTIAL
from mlkit.spec.reference import Reference

Select = Literal["auto"] | Pick
"""Who decides where labels leave several: this machine's GPU, or a function of the caller's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked of an index; nothing of it for a reference that names one kit."""

    requirements: tuple[Requirement, ...] = ()
    select: Select | None = None

    @classmethod
    def parse(cls, labels: Iterable[str], select: Select | None = None) -> Choice:
        """`labels` are requirements such as `quantization=q4_0` and `vram<=24GB`. Raises: UsageError."""
        return cls(tuple(map(Requirement.parse, labels)), select)

    @property
    def is_made(self) -> bool:
        return bool(self.requirements) or self.select is not None


ANY = Choice()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A kit, and what its index lists besides."""

    located: Located
    named: Located
    """What the reference named: the index, or the same kit."""
    others: frozenset[Digest] = frozenset()


def locate(session: Session, reference: Reference, choice: Choice, *, remote: bool = False) -> Located:
    """Like `Session.locate`, and where that finds an index of kits, the one of them that is asked for.

    Raises: NotFoundError where no kit of the index will do, UsageError where several do, or where labels are given for
    what is no index.
    """
    return find(session, reference, choice, remote=remote).located


def find(session: Session, reference: Reference, choice: Choice, *, remote: bool = False) -> Chosen:
    """Like `locate`, with the index that the kit was chosen from: that is what its reference named."""
    return choose_in(session, session.locate(reference, remote=remote), choice)


def choose_in(session: Session, located: Located, choice: Choice) -> Chosen:
    """See `locate`. An index of anything but kits is looked into only where labels are given."""
    reference = located.reference
    if located.desc.media_type not in INDEX_TYPES:
        if choice.is_made:
            raise UsageError(
                f"{reference}: is one kit, and no index to choose from",
                hint="leave -l and --select out, or name the index",
            )
        return Chosen(located, located)
    with explained_trouble(located):
        raw = read_blob(located.store, located.desc, limit=MANIFEST_LIMIT)
    index = KitIndex.parse(raw, media_type=located.desc.media_type, what=str(reference))
    if not index.is_of_kits and not choice.is_made:
        return Chosen(located, located)
    variant = choose(index, choice.requirements, what=str(reference), pick=_pick(choice.select))
    others = frozenset(other.desc.digest for other in index.variants) - {variant.desc.digest}
    return Chosen(_kit_of(session, located, variant.desc.bare), located, others)


def _pick(select: Select | None) -> Pick | None:
    if select != "auto":
        return select
    # Imported here: it runs a program, and few ask for that.
    from mlkit.api.gpus import nvidia_gpus

    return best_for(nvidia_gpus())


def _kit_of(session: Session, located: Located, kit: Descriptor) -> Located:
    if located.source == "remote":
        return replace(located, desc=kit)
    # A kit that has an entry of its own in the store knows where the rest of it is; the index may not.
    own = session.find_local(located.reference.with_digest(kit.digest))
    if own is None:
        own = kit.with_annotations({name: located.desc.annotations.get(name) for name in (PARTIAL, ORIGIN)})
    return session.here(located.reference, own)
