"""From a kit to files: everything that was selected, verified, or nothing.

Files are staged beside the destination while layers arrive, and moved into it when the last layer has been found right.
The store may be a registry: each byte is read once and goes straight to the staged file.

A kit whose model is another kit is unpacked with that one's model, and the model of the one beyond. Where both have a
file at one path, the same bytes are written once; different bytes are a conflict, unless the caller overwrites: then
the file of the kit that was asked for is written.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mlkit.archive.encoding import require_utf8
from mlkit.archive.extract import FileSeen, Folder, StagedFile, Staging
from mlkit.archive.limits import DEFAULT_LIMITS
from mlkit.archive.merge import Existing
from mlkit.archive.names import collision_key
from mlkit.content.lock import disk_errors, write_all
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import ConflictError, LimitError, StoreError, UnsafeError
from mlkit.packing.again import twice
from mlkit.packing.fetch import Moved, write_decompressed_raw, write_ranges, write_raw, write_tar
from mlkit.packing.jobs import Job, run_jobs
from mlkit.packing.kit import Kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.packing.rebased import Rebased
from mlkit.packing.select import (
    KITFILE_NAME,
    Filter,
    SelectedLayer,
    Selection,
    nothing_matches,
    select,
    select_parsed,
)
from mlkit.progress import NoProgress, Progress
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord
from mlkit.spec.media_types import Class

Parents = Callable[[Kit], tuple[Kit, ReadOnlyStorage] | None]
"""Finds the kit that a kit's model is; None where it has none."""

_CHAIN_LIMIT = 10  # parents of parents, as KitOps has it
_RANGE_SHARE = 2  # a part of a tar is asked for by ranges while it is at most this fraction (1/n) of the layer
_NOTHING = NoProgress()


@dataclass(frozen=True, slots=True)
class UnpackResult:
    """What was written."""

    files: tuple[str, ...]
    """Sorted, the Kitfile included."""
    size: int
    """Bytes of these files."""
    skipped: tuple[str, ...]
    """Files that were in the destination already and were left as they are."""


def unpack(
    kit: Kit,
    store: ReadOnlyStorage,
    destination: Path,
    *,
    selection: Selection | None = None,
    existing: Existing = "refuse",
    concurrency: int = 4,
    progress: Progress = _NOTHING,
    parents: Parents | None = None,
) -> UnpackResult:
    """Write the selected files of a kit, all of it by default, below `destination`.

    Raises: IntegrityError and UnsafeError for content that is refused; ConflictError for files that exist; StoreError
    where the disk is too small; NotFoundError for a layer that is not in the store. Then `destination` is as it was.
    """
    require_utf8()
    selection = selection or select(kit, ())
    sources = tuple(_sources(kit, store, selection, parents))
    matched = {one for source in sources for one in source.selection.filters if one not in source.selection.unmatched}
    unmatched = [one for one in selection.unmatched if one.text not in {other.text for other in matched}]
    if unmatched:
        raise nothing_matches(kit, unmatched[0].text)
    sources = _without_doubles(sources, existing)
    with Staging(destination, existing=existing) as staging:
        staged = _Staged(staging)
        staging.check(_known_paths(sources))
        jobs = list(_jobs(sources, staged))
        _check_space(destination, jobs)
        run_jobs(jobs, concurrency, progress)
        _check_folder(kit, selection, staged)
        if selection.kitfile and not staged.holds(KITFILE_NAME):
            staged.write(KITFILE_NAME, kit.kitfile_text.encode("utf-8"))
        directories = [directory for source in sources for directory in source.selection.directories]
        if not (staged.files or staged.skipped or directories) and selection.filters:
            raise nothing_matches(kit, " ".join(one.text for one in selection.filters))
        for directory in directories:
            staging.directory(directory)
        staging.commit()
    return UnpackResult(tuple(sorted(staged.files)), sum(staged.files.values()), tuple(sorted(staged.skipped)))


@dataclass(frozen=True, slots=True)
class _Source:
    """A kit of the chain, and what of it is wanted."""

    kit: Kit
    store: ReadOnlyStorage
    selection: Selection


class _Staged:
    """The staging folder with a record of what is in it; used from several threads."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._lock = threading.Lock()
        self.files: dict[str, int] = {}
        """Sizes in bytes by path."""
        self.skipped: set[str] = set()

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]:
        return self._staging.file(path, mode=mode)

    def directory(self, path: str) -> None:
        self._staging.directory(path)

    def drop(self, path: str) -> None:
        self._staging.drop(path)

    def wants(self, path: str) -> bool:
        """Whether a file is to be written; what is not is noted as skipped."""
        is_wanted = self._staging.wants(path)
        if not is_wanted:
            with self._lock:
                self.skipped.add(path)
        return is_wanted

    def note(self, files: Iterable[tuple[str, int]]) -> None:
        with self._lock:
            self.files.update(files)

    def holds(self, path: str) -> bool:
        return path in self.files or path in self.skipped

    def write(self, path: str, content: bytes) -> None:
        """A small file that comes from no layer."""
        if self.wants(path):
            with self._staging.file(path, mode=0o644) as target:
                write_all(target.fileno(), content)
            self.note([(path, len(content))])


def _sources(kit: Kit, store: ReadOnlyStorage, selection: Selection, parents: Parents | None) -> Iterator[_Source]:
    """The kit, then the kits that its model is, nearest first; of those only the model is wanted."""
    yield _Source(kit, store, selection)
    filters = _for_parents(selection)
    if parents is None or filters is None:
        return
    chain = [kit.manifest.descriptor.digest]
    found = parents(kit)
    while found is not None:
        parent, parent_store = found
        digest = parent.manifest.descriptor.digest
        if digest in chain or len(chain) > _CHAIN_LIMIT:
            raise LimitError(
                f"{chain[0]}: its model refers to kits in "
                + ("a circle" if digest in chain else f"a chain of more than {_CHAIN_LIMIT}")
                + f" ({' -> '.join(one.short for one in (*chain, digest))})"
            )
        chain.append(digest)
        yield _Source(parent, parent_store, select_parsed(parent, filters))
        found = parents(parent)


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


def _without_doubles(sources: tuple[_Source, ...], existing: Existing) -> tuple[_Source, ...]:
    """Each path in one kit only, the nearest. Raises: ConflictError where kits differ and nothing is overwritten."""
    taken: dict[str, Digest] = {}
    kept = []
    for source in sources:
        own: dict[str, Digest] = {}
        layers = []
        for chosen in source.selection.layers:
            paths = set()
            for file in _chosen_files(chosen):
                before = taken.get(collision_key(file.path))
                if before is None:
                    own[collision_key(file.path)] = file.digest
                    paths.add(file.path)
                elif before != file.digest and existing != "overwrite":
                    raise ConflictError(
                        f"{ascii(file.path)[:200]} is in the kit and, with other bytes, in the kit that its model is",
                        hint="--overwrite takes the file of the kit itself",
                    )
            if chosen.layer.files is None or len(paths) == len(chosen.layer.files):
                layers.append(chosen)
            elif paths:
                layers.append(replace(chosen, paths=frozenset(paths)))
        taken.update(own)
        kept.append(replace(source, selection=replace(source.selection, layers=tuple(layers))))
    return tuple(kept)


def _known_paths(sources: tuple[_Source, ...]) -> list[str]:
    paths = [file.path for source in sources for one in source.selection.layers for file in _chosen_files(one)]
    return [*paths, KITFILE_NAME] if sources[0].selection.kitfile else paths


def _chosen_files(chosen: SelectedLayer) -> tuple[FileRecord, ...]:
    files = chosen.layer.files or ()
    return files if chosen.is_whole else tuple(file for file in files if chosen.wants(file.path))


def _jobs(sources: tuple[_Source, ...], staged: _Staged) -> Iterator[Job]:
    raw: dict[Digest, list[tuple[_Source, SelectedLayer]]] = {}
    for source in sources:
        for chosen in source.selection.layers:
            if chosen.layer.kind == "tar":
                yield from _tar_jobs(source, chosen, staged)
            elif chosen.layer.files is None:
                yield from _unread_raw_jobs(source, chosen, staged)
            else:
                raw.setdefault(chosen.layer.desc.digest, []).append((source, chosen))
    for group in raw.values():
        # Equal files are one blob, read once.
        source, chosen = group[0]
        targets = [file for _, one in group for file in _chosen_files(one) if staged.wants(file.path)]
        if targets:
            layer = chosen.layer
            yield Job(
                layer,
                size=sum(file.size for file in targets),
                reads=layer.desc.size,
                write=partial(_raw, source.store, layer, targets, staged),
            )


def _tar_jobs(source: _Source, chosen: SelectedLayer, staged: _Staged) -> Iterator[Job]:
    layer = chosen.layer
    if layer.files is None:
        yield Job(layer, layer.size, layer.desc.size, partial(_unread_tar, source.store, chosen, staged))
        return
    files = [file for file in _chosen_files(chosen) if staged.wants(file.path)]
    size = sum(file.size for file in files)
    if (
        layer.compression == "none"
        and files
        and size <= layer.desc.size // _RANGE_SHARE
        and len(files) < len(layer.files)
    ):
        yield Job(layer, size, size, partial(_ranges, source.store, layer, files, staged))
    elif files or not layer.files:
        yield Job(layer, size, layer.desc.size, partial(_tar, source.store, layer, files, staged))


def _unread_raw_jobs(source: _Source, chosen: SelectedLayer, staged: _Staged) -> Iterator[Job]:
    layer = chosen.layer
    if chosen.wants(layer.path) and staged.wants(layer.path):
        yield Job(layer, layer.size, layer.desc.size, partial(_unread_raw, source.store, layer, staged))


def _raw(store: ReadOnlyStorage, layer: KitLayer, targets: list[FileRecord], staged: _Staged, moved: Moved) -> None:
    twice(lambda folder, moved: write_raw(store, layer, targets, folder, moved), staged, moved)
    staged.note((file.path, file.size) for file in targets)


def _unread_raw(store: ReadOnlyStorage, layer: KitLayer, staged: _Staged, moved: Moved) -> None:
    file = twice(lambda folder, moved: write_decompressed_raw(store, layer, folder, moved), staged, moved)
    staged.note([(file.path, file.size)])


def _ranges(store: ReadOnlyStorage, layer: KitLayer, files: list[FileRecord], staged: _Staged, moved: Moved) -> None:
    twice(lambda folder, moved: write_ranges(store, layer, files, folder, moved), staged, moved)
    staged.note((file.path, file.size) for file in files)


def _tar(store: ReadOnlyStorage, layer: KitLayer, files: list[FileRecord], staged: _Staged, moved: Moved) -> None:
    paths = {file.path for file in files}
    seen = twice(lambda folder, moved: write_tar(store, layer, folder, moved, wanted=paths.__contains__), staged, moved)
    staged.note((file.path, file.size) for file in seen)


def _unread_tar(store: ReadOnlyStorage, chosen: SelectedLayer, staged: _Staged, moved: Moved) -> None:
    """A Kitfile in a layer is left to the kit, whose own is what `info` shows."""
    layer = chosen.layer

    def wanted(name: str) -> bool:
        return chosen.wants(layer.place(name))

    def write(folder: Folder, moved: Moved) -> tuple[FileSeen, ...]:
        rebased = Rebased(folder, layer, without=(KITFILE_NAME,))
        return write_tar(store, layer, rebased, moved, wanted=None if chosen.is_whole else wanted)

    seen = twice(write, staged, moved)
    staged.note((layer.place(file.path), file.size) for file in seen)


def _check_folder(kit: Kit, selection: Selection, staged: _Staged) -> None:
    """Raises: UnsafeError for a container image that has nothing where its model should be."""
    folder = next((layer.only for layer in kit.layers if layer.only is not None), None)
    if folder is not None and not (staged.files or staged.skipped or selection.filters):
        raise UnsafeError(
            f"{kit.manifest.descriptor.digest} is no kit: it is a container image with no file in /{folder}",
            hint="`mlkit inspect` shows what it holds",
        )


def _check_space(destination: Path, jobs: list[Job]) -> None:
    """Raises: StoreError before anything is written, where the disk cannot hold it all."""
    needed = sum(job.size for job in jobs)
    place = next((folder for folder in (destination, *destination.absolute().parents) if folder.exists()), None)
    if place is None or needed == 0:
        return
    with disk_errors(place):
        free = shutil.disk_usage(place).free
    usable = free - free * DEFAULT_LIMITS.disk_reserve_percent // 100
    if needed > usable:
        raise StoreError(
            f"{destination}: no space left for {needed} bytes (free: {free}, of which "
            f"{DEFAULT_LIMITS.disk_reserve_percent} % stay so)",
            hint="--filter takes a part of the kit",
        )
