"""The files of a kit where a server can read them: streamed or unpacked for one run, or linked from the store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mlkit.api.parents import parents_of
from mlkit.api.policies import Gate
from mlkit.api.session import DAMAGED, Located, Session, explained_trouble
from mlkit.content.layout import CONTROL
from mlkit.content.lock import disk_errors
from mlkit.content.pace import Connections
from mlkit.content.stat_cache import StatCache
from mlkit.errors import DigestMismatch
from mlkit.packing.chain import ancestors
from mlkit.packing.kit import Kit
from mlkit.packing.members import members
from mlkit.packing.select import SelectedLayer, Selection, select
from mlkit.packing.unpack import unpack
from mlkit.serving.facts import MODEL_CLASSES, KitFacts, PackedFile, collect_facts
from mlkit.serving.scratch import SERVING, kept_folder, scratch_folder
from mlkit.spec.digest import Digest
from mlkit.spec.kit_document import FileRecord
from mlkit.spec.media_types import Class

_CHUNK = 1 << 20
_SETTLED = 2.0  # seconds; the coarsest timestamps of common file systems (FAT)


@dataclass(frozen=True, slots=True)
class ServingFiles:
    """Where the files of a kit are."""

    root: Path
    work: Path
    """An empty folder for what the server writes, removed at the end."""
    size: int
    """Bytes of its files."""
    seconds: float
    """What it took."""
    linked_bytes: int = 0
    """Bytes of files that are the store's own, and were not copied."""


def facts_of(session: Session, located: Located, kit: Kit, gate: Gate | None = None) -> KitFacts:
    """What the choice of a runtime looks at, kits that the model of this one is included; `gate` is asked of those.

    Raises: PolicyError.
    """
    files = list(_model_files(kit, located))
    for parent, store in ancestors(kit, parents_of(session, gate)):
        known = {file.path for file in files}
        files += [one for one in _model_files(parent, replace(located, store=store)) if one.path not in known]
    return collect_facts(kit.kitfile, files)


@contextmanager
def serving_files(
    session: Session, located: Located, kit: Kit, *, reuse: bool, gate: Gate | None = None
) -> Iterator[ServingFiles]:
    """Everything of a kit but its datasets, verified.

    It is gone at the end, but for what `reuse` links from the local store: that stays until the kit leaves the store.
    A kit that is in a registry streams from there into the files, and leaves nothing in the store.
    Raises: what unpacking raises.
    """
    root = serving_root(session)
    began = time.monotonic()
    with scratch_folder(root, located.desc.digest) as scratch, explained_trouble(located):
        work = scratch / "work"
        work.mkdir()
        if not reuse:
            size = _unpack(session, located, kit, _without_datasets(kit), scratch / "kit", gate)
            yield ServingFiles(scratch / "kit", work, size, time.monotonic() - began)
            return
        builder = _Linked(session, located, kit, scratch / "new", gate)
        with kept_folder(root, located.desc.digest, make=builder.make) as folder:
            yield ServingFiles(folder, work, builder.size, time.monotonic() - began, builder.linked_bytes)


def serving_root(session: Session) -> Path:
    """Where the folders of servers are."""
    return session.settings.home / SERVING


class _Linked:
    """A folder whose files are those of the store, as far as a blob is a file."""

    def __init__(self, session: Session, located: Located, kit: Kit, fresh: Path, gate: Gate | None) -> None:
        self._session = session
        self._gate = gate
        self._located = located
        self._kit = kit
        self._fresh = fresh
        self._files = {
            file.path: file
            for chosen in _without_datasets(kit).layers
            for file in chosen.layer.files or ()
        }  # fmt: skip
        self.linked_bytes = 0

    @property
    def size(self) -> int:
        """Bytes of the kit's own files."""
        return sum(file.size for file in self._files.values())

    def make(self, folder: Path) -> None:
        """Build it, unless it is there and every file of it is what the kit says."""
        if folder.is_dir() and self._is_right(folder):
            return
        shutil.rmtree(folder, ignore_errors=True)
        selection = _without_datasets(self._kit)
        linked = [chosen for chosen in selection.layers if self._blob(chosen) is not None]
        rest = tuple(chosen for chosen in selection.layers if chosen not in linked)
        _unpack(self._session, self._located, self._kit, replace(selection, layers=rest), self._fresh, self._gate)
        for chosen in linked:
            for file in chosen.layer.files or ():
                self._link(chosen, file)
        if not self._is_right(self._fresh):
            raise DigestMismatch(f"{self._located.desc.digest}: a layer is damaged in the local store", hint=DAMAGED)
        with disk_errors(folder):
            self._fresh.rename(folder)

    def _blob(self, chosen: SelectedLayer) -> Path | None:
        layer = chosen.layer
        if layer.kind != "raw" or layer.compression != "none" or layer.files is None:
            return None
        # A program must be executable and blobs are not; whoever made one so would change the store.
        if any(file.mode & 0o111 for file in layer.files):
            return None
        return self._session.layout.path(layer.desc)

    def _link(self, chosen: SelectedLayer, file: FileRecord) -> None:
        blob, target = self._blob(chosen), self._fresh / file.path
        assert blob is not None
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob, target, follow_symlinks=False)
        self.linked_bytes += file.size

    def _is_right(self, folder: Path) -> bool:
        """Whether every file has its bytes; those that were read before and did not change are not read again."""
        with StatCache.open(self._session.settings.home / CONTROL / "linked.sqlite") as cache:
            return all(self._has(cache, folder / path, file) for path, file in self._files.items())

    def _has(self, cache: StatCache, path: Path, file: FileRecord) -> bool:
        try:
            stat = path.lstat()
            if not path.is_file() or path.is_symlink() or stat.st_size != file.size:
                return False
            # Not by its path: the folder is renamed once it is whole.
            key = repr((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)).encode()
            if cache.get(key) == str(file.digest).encode():
                return True
            digest = _digest(path, file.digest)
        except OSError:
            return False
        if digest == file.digest and time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED:
            cache.put(key, str(digest).encode())
        return digest == file.digest


def _digest(path: Path, expected: Digest) -> Digest:
    hasher = expected.hasher()
    view = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(view):
            hasher.update(view[:count])
    return Digest.finished(hasher)


def _without_datasets(kit: Kit) -> Selection:
    selection = select(kit, ())
    return replace(
        selection, layers=tuple(chosen for chosen in selection.layers if chosen.layer.cls is not Class.DATASETS)
    )


def _unpack(session: Session, located: Located, kit: Kit, selection: Selection, folder: Path, gate: Gate | None) -> int:
    folder.mkdir()
    result = unpack(
        kit,
        located.store,
        folder,
        selection=selection,
        existing="refuse",
        concurrency=session.settings.concurrency,
        progress=session.progress,
        parents=parents_of(session, gate),
        limits=session.settings.limits,
        connections=Connections.of(session.settings.ranges, blobs_at_once=session.settings.concurrency),
    )
    return result.size


def _model_files(kit: Kit, located: Located) -> Iterator[PackedFile]:
    for layer in kit.layers:
        if layer.cls not in MODEL_CLASSES:
            continue
        if layer.files is not None:
            yield from (PackedFile(file.path, file.size) for file in layer.files)
        elif layer.kind == "raw":
            yield PackedFile(layer.path, layer.size)
        else:
            # Kits of other tools: what a tar holds is known once it was read.
            with explained_trouble(located):
                yield from (PackedFile(file.path, file.size) for file in members(layer, located.store))
