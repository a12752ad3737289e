"""What of a kit, and of the kits that it names, is wanted: the same files, whether they are written or compared.

A kit whose model is another kit comes with that one's model, and the model of the one beyond. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mlkit.archive.merge import Existing
from mlkit.archive.names import collision_key
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import ConflictError, LimitError
from mlkit.packing.kit import CHAIN_LIMIT, Kit
from mlkit.packing.select import KITFILE_NAME, Filter, SelectedLayer, Selection, select_parsed
from mlkit.packing.staged import joined
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord
from mlkit.spec.media_types import Class

Parents = Callable[[Kit], tuple[Kit, ReadOnlyStorage] | None]
"""Finds the kit that a kit's model is; None where it has none."""


@dataclass(frozen=True, slots=True)
class SourceKit:
    """A kit of the chain, what of it is wanted, and below which path it goes."""

    kit: Kit
    store: ReadOnlyStorage
    selection: Selection
    path: str = "."
    title: str = "the kit that its model is"


def source_kits(kit: Kit, store: ReadOnlyStorage, selection: Selection, parents: Parents | None) -> Iterator[SourceKit]:
    """The kit, then the kits that its model is, nearest first; of those only the model is wanted."""
    yield SourceKit(kit, store, selection)
    filters = _for_parents(selection)
    if parents is not None and filters is not None:
        for parent, parent_store in ancestors(kit, parents):
            yield SourceKit(parent, parent_store, select_parsed(parent, filters))


def ancestors(kit: Kit, parents: Parents) -> Iterator[tuple[Kit, ReadOnlyStorage]]:
    """The kit that its model is, the kit that the model of that one is, and so on, each with the store that holds it.

    Raises: LimitError for a circle, which tags can make, and for more than ten in a row.
    """
    chain = [kit.manifest.descriptor.digest]
    found = parents(kit)
    while found is not None:
        digest = found[0].manifest.descriptor.digest
        if digest in chain or len(chain) > CHAIN_LIMIT:
            raise LimitError(
                f"{chain[0]}: its model refers to kits in "
                + ("a circle" if digest in chain else f"a chain of more than {CHAIN_LIMIT}")
                + f" ({' -> '.join(one.short for one in (*chain, digest))})"
            )
        chain.append(digest)
        yield found
        found = parents(found[0])


def without_doubles(sources: tuple[SourceKit, ...], existing: Existing) -> tuple[SourceKit, ...]:
    """Each path in one kit only, the nearest. Raises: ConflictError where kits differ and nothing is overwritten."""
    taken: dict[str, Digest] = {}
    kept = []
    for source in sources:
        own: dict[str, Digest] = {}
        layers = []
        for chosen in source.selection.layers:
            paths = set()
            for file in chosen_files(chosen):
                key = collision_key(joined(source.path, file.path))
                before = taken.get(key)
                if before is None:
                    own[key] = file.digest
                    paths.add(file.path)
                elif before != file.digest and existing != "overwrite":
                    raise ConflictError(
                        f"{ascii(file.path)[:200]} is in the kit and, with other bytes, in {source.title}",
                        hint="--overwrite takes the file of the kit itself",
                    )
            if chosen.layer.files is None or len(paths) == len(chosen.layer.files):
                layers.append(chosen)
            elif paths:
                layers.append(replace(chosen, paths=frozenset(paths)))
        taken.update(own)
        kept.append(replace(source, selection=replace(source.selection, layers=tuple(layers))))
    return tuple(kept)


def known_paths(sources: tuple[SourceKit, ...]) -> list[str]:
    """Where files land, as far as that is known without reading layers."""
    paths = [
        joined(source.path, file.path)
        for source in sources
        for one in source.selection.layers
        for file in chosen_files(one)
    ]
    return [*paths, KITFILE_NAME] if sources[0].selection.kitfile else paths


def chosen_files(chosen: SelectedLayer) -> tuple[FileRecord, ...]:
    """The files of a layer that are wanted; none where they are known only when it is read."""
    files = chosen.layer.files or ()
    return files if chosen.is_whole else tuple(file for file in files if chosen.wants(file.path))


def _for_parents(selection: Selection) -> tuple[Filter, ...] | None:
    """The filters as they apply to parents; None where nothing of them is wanted."""
    narrowed = tuple(one for one in map(_only_model, selection.filters) if one is not None)
    includes = [one for one in selection.filters if not one.is_exclusion]
    if includes and all(one.is_exclusion for one in narrowed):
        return None
    if not includes:
        narrowed = (Filter.parse(Class.MODEL), *narrowed)
    return narrowed


def _only_model(one: Filter) -> Filter | None:
    return one.narrowed(Class.MODEL)
