"""From a kit to files: everything that was selected, verified, or nothing.

Files are staged beside the destination while layers arrive, and moved into it when the last layer has been found right.
The store may be a registry: each byte is read once and goes straight to the staged file.

A kit whose model is another kit is unpacked with that one's model, and the model of the one beyond. Where both have a
file at one path, the same bytes are written once; different bytes are a conflict, unless the caller overwrites: then
the file of the kit that was asked for is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlkit.archive.encoding import require_utf8
from mlkit.archive.extract import FileSeen, Folder, StagedFile, Staging
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.archive.merge import Existing
from mlkit.content.lock import disk_errors
from mlkit.content.pace import Connections
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import StoreError, UnsafeError
from mlkit.packing.again import twice
from mlkit.packing.chain import Parents, SourceKit, chosen_files, known_paths, source_kits, without_doubles
from mlkit.packing.fetch import Moved, write_decompressed_raw, write_ranges, write_raw, write_tar
from mlkit.packing.jobs import Job, run_jobs
from mlkit.packing.kit import Kit
from mlkit.packing.kit_layer import KitLayer
from mlkit.packing.rebased import Rebased
from mlkit.packing.select import (
    KITFILE_NAME,
    SelectedLayer,
    Selection,
    nothing_matches,
    select,
)
from mlkit.packing.staged import Staged, Tree, Under, joined
from mlkit.progress import NoProgress, Progress
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord

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
    sizes: tuple[int, ...] = ()
    """Bytes of each of `files`."""


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
    remotes: Sequence[RemoteKit | RemoteFile] = (),
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> UnpackResult:
    """Write the selected files of a kit, all of it by default, below `destination`, with what of it is elsewhere.

    `connections` are what a large file that is a layer of its own may open beside its first, where that helps.
    Raises: IntegrityError and UnsafeError for content that is refused; ConflictError for files that exist; StoreError
    where the disk is too small; NotFoundError for a layer that is not in the store. Then `destination` is as it was.
    """
    require_utf8()
    selection = selection or select(kit, ())
    elsewhere = tuple(
        SourceKit(one.kit, one.store, one.selection, one.path, "the kit that a dataset of it is")
        for one in remotes
        if isinstance(one, RemoteKit)
    )
    remote_files = [one for one in remotes if isinstance(one, RemoteFile)]
    sources = (*source_kits(kit, store, selection, parents), *elsewhere)
    matched = {one for source in sources for one in source.selection.filters if one not in source.selection.unmatched}
    unmatched = [one for one in selection.unmatched if one.text not in {other.text for other in matched}]
    if unmatched:
        raise nothing_matches(kit, unmatched[0].text)
    sources = without_doubles(sources, existing)
    with Staging(destination, existing=existing) as staging:
        staged = Staged(staging)
        staging.check([*known_paths(sources), *(one.path for one in remote_files)])
        jobs = [*_jobs(sources, staged, limits, connections), *_remote_jobs(remote_files, staged)]
        _check_space(destination, jobs, limits)
        run_jobs(jobs, concurrency, progress)
        _check_folder(kit, selection, staged)
        if selection.kitfile and not staged.holds(KITFILE_NAME):
            staged.write(KITFILE_NAME, kit.kitfile_text.encode("utf-8"))
        directories = [
            joined(source.path, directory) for source in sources for directory in source.selection.directories
        ]
        if not (staged.files or staged.skipped or directories) and selection.filters:
            raise nothing_matches(kit, " ".join(one.text for one in selection.filters))
        for directory in directories:
            staging.directory(directory)
        staging.commit()
    files = sorted(staged.files)
    sizes = tuple(staged.files[path] for path in files)
    return UnpackResult(tuple(files), sum(sizes), tuple(sorted(staged.skipped)), sizes)


@dataclass(frozen=True, slots=True)
class RemoteKit:
    """A kit that a dataset is, what of it is wanted, and below which path it goes."""

    kit: Kit
    store: ReadOnlyStorage
    selection: Selection
    path: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that is in no store of content."""

    path: str
    url: str
    size: int
    """Bytes."""
    write: Callable[[StagedFile, Moved], None]
    """Fetches it; raises where it is not what was promised."""


def _jobs(
    sources: tuple[SourceKit, ...], whole: Tree, limits: Limits, connections: Connections | None
) -> Iterator[Job]:
    raw: dict[tuple[Digest, str], list[tuple[SourceKit, SelectedLayer]]] = {}
    for source in sources:
        staged = _tree(source, whole)
        for chosen in source.selection.layers:
            if chosen.layer.kind == "tar":
                yield from _tar_jobs(source, chosen, staged, limits)
            elif chosen.layer.files is None:
                yield from _unread_raw_jobs(source, chosen, staged, limits)
            else:
                raw.setdefault((chosen.layer.desc.digest, source.path), []).append((source, chosen))
    for group in raw.values():
        # Equal files are one blob, read once.
        source, chosen = group[0]
        staged = _tree(source, whole)
        targets = [file for _, one in group for file in chosen_files(one) if staged.wants(file.path)]
        if targets:
            size, layer = sum(file.size for file in targets), chosen.layer
            write = partial(_raw, source.store, layer, targets, staged, limits, connections)
            yield _job(source, layer, size, layer.desc.size, write)


def _tar_jobs(source: SourceKit, chosen: SelectedLayer, staged: Tree, limits: Limits) -> Iterator[Job]:
    layer = chosen.layer
    if layer.files is None:
        yield _job(
            source, layer, layer.size, layer.desc.size, partial(_unread_tar, source.store, chosen, staged, limits)
        )
        return
    files = [file for file in chosen_files(chosen) if staged.wants(file.path)]
    size = sum(file.size for file in files)
    if (
        layer.compression == "none"
        and files
        and size <= layer.desc.size // _RANGE_SHARE
        and len(files) < len(layer.files)
    ):
        yield _job(source, layer, size, size, partial(_ranges, source.store, layer, files, staged))
    elif files or not layer.files:
        yield _job(source, layer, size, layer.desc.size, partial(_tar, source.store, layer, files, staged, limits))


def _unread_raw_jobs(source: SourceKit, chosen: SelectedLayer, staged: Tree, limits: Limits) -> Iterator[Job]:
    layer = chosen.layer
    if chosen.wants(layer.path) and staged.wants(layer.path):
        yield _job(
            source, layer, layer.size, layer.desc.size, partial(_unread_raw, source.store, layer, staged, limits)
        )


def _remote_jobs(files: list[RemoteFile], staged: Tree) -> Iterator[Job]:
    for file in files:
        if staged.wants(file.path):
            yield Job(file.url, file.path, file.size, file.size, partial(_remote_file, file, staged))


def _job(source: SourceKit, layer: KitLayer, size: int, reads: int, write: Callable[[Moved], None]) -> Job:
    # One layer may go to two places.
    key = str(layer.desc.digest) if source.path == "." else f"{layer.desc.digest} {source.path}"
    return Job(key, joined(source.path, layer.path), size, reads, write)


def _tree(source: SourceKit, whole: Tree) -> Tree:
    return whole if source.path == "." else Under(whole, source.path)


def _remote_file(file: RemoteFile, staged: Tree, moved: Moved) -> None:
    def write(folder: Folder, moved: Moved) -> None:
        with folder.file(file.path, mode=0o644) as target:
            file.write(target, moved)

    twice(write, staged, moved)
    staged.note([(file.path, file.size)])


def _raw(
    store: ReadOnlyStorage,
    layer: KitLayer,
    targets: list[FileRecord],
    staged: Tree,
    limits: Limits,
    connections: Connections | None,
    moved: Moved,
) -> None:
    def write(folder: Folder, moved: Moved) -> None:
        write_raw(store, layer, targets, folder, moved, limits=limits, connections=connections)

    twice(write, staged, moved)
    staged.note((file.path, file.size) for file in targets)


def _unread_raw(store: ReadOnlyStorage, layer: KitLayer, staged: Tree, limits: Limits, moved: Moved) -> None:
    file = twice(
        lambda folder, moved: write_decompressed_raw(store, layer, folder, moved, limits=limits), staged, moved
    )
    staged.note([(file.path, file.size)])


def _ranges(store: ReadOnlyStorage, layer: KitLayer, files: list[FileRecord], staged: Tree, moved: Moved) -> None:
    twice(lambda folder, moved: write_ranges(store, layer, files, folder, moved), staged, moved)
    staged.note((file.path, file.size) for file in files)


def _tar(
    store: ReadOnlyStorage, layer: KitLayer, files: list[FileRecord], staged: Tree, limits: Limits, moved: Moved
) -> None:
    paths = {file.path for file in files}

    def write(folder: Folder, moved: Moved) -> tuple[FileSeen, ...]:
        return write_tar(store, layer, folder, moved, wanted=paths.__contains__, limits=limits)

    seen = twice(write, staged, moved)
    staged.note((file.path, file.size) for file in seen)


def _unread_tar(store: ReadOnlyStorage, chosen: SelectedLayer, staged: Tree, limits: Limits, moved: Moved) -> None:
    """A Kitfile in a layer is left to the kit, whose own is what `info` shows."""
    layer = chosen.layer

    def wanted(name: str) -> bool:
        return chosen.wants(layer.place(name))

    def write(folder: Folder, moved: Moved) -> tuple[FileSeen, ...]:
        rebased = Rebased(folder, layer, without=(KITFILE_NAME,))
        return write_tar(store, layer, rebased, moved, wanted=None if chosen.is_whole else wanted, limits=limits)

    seen = twice(write, staged, moved)
    staged.note((layer.place(file.path), file.size) for file in seen)


def _check_folder(kit: Kit, selection: Selection, staged: Staged) -> None:
    """Raises: UnsafeError for a container image that has nothing where its model should be."""
    folder = next((layer.only for layer in kit.layers if layer.only is not None), None)
    if folder is not None and not (staged.files or staged.skipped or selection.filters):
        raise UnsafeError(
            f"{kit.manifest.descriptor.digest}: is a container image with no file in /{folder}, and no kit",
            hint="`mlkit inspect` shows what it holds",
        )


def _check_space(destination: Path, jobs: list[Job], limits: Limits) -> None:
    """Raises: StoreError before anything is written, where the disk cannot hold it all."""
    needed = sum(job.size for job in jobs)
    place = next((folder for folder in (destination, *destination.absolute().parents) if folder.exists()), None)
    if place is None or needed == 0:
        return
    with disk_errors(place):
        free = shutil.disk_usage(place).free
    usable = free - free * limits.disk_reserve_percent // 100
    if needed > usable:
        raise StoreError(
            f"{destination}: no space left for {needed} bytes (free: {free}, of which "
            f"{limits.disk_reserve_percent} % stay so)",
            hint="--filter takes a part of the kit",
        )
