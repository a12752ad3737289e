"""Layers of an oras-py artifact as files, and files as blobs: by the same code that unpacks kits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mlkit.archive.extract import StagedFile, Staging
from mlkit.archive.merge import Existing
from mlkit.archive.names import check_name
from mlkit.content.lock import disk_errors
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import UsageError
from mlkit.packing.fetch import Moved, write_raw, write_tar
from mlkit.packing.jobs import Job, run_jobs
from mlkit.packing.kit_layer import KitLayer
from mlkit.packing.rebased import Rebased
from mlkit.progress import Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.kit_document import FileRecord
from mlkit.spec.media_types import TITLE, Class

DIRECTORY = "application/vnd.oci.image.layer.v1.tar+gzip"
"""What oras-py makes of a directory."""

_MODE = 0o644


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as the content of a push. Its bytes are hashed while they are sent: one that changes is refused."""

    path: Path

    def open(self, *, offset: int = 0) -> AbstractContextManager[BinaryIO]:
        """Raises: StoreError where it cannot be read."""
        with disk_errors(self.path):
            stream = self.path.open("rb")
            stream.seek(offset)
        return stream


@contextmanager
def output_folder(directory: str | os.PathLike[str] | None) -> Iterator[Path]:
    """`directory`, or a new private one, which goes away where nothing is written to it."""
    if directory is not None:
        yield Path(directory)
        return
    made = Path(tempfile.mkdtemp(prefix="oras-tmp."))
    try:
        yield made
    except BaseException:
        with suppress(OSError):
            made.rmdir()
        raise


def pull_layers(
    store: ReadOnlyStorage,
    layers: Sequence[Descriptor],
    directory: Path,
    *,
    existing: Existing,
    concurrency: int,
    progress: Progress,
) -> tuple[str, ...]:
    """Write each layer under its title below `directory`, all of them or none; gives the names that were written.

    A directory of oras-py is extracted beside its name. A layer without a title gets its digest for a name.
    Raises: IntegrityError and UnsafeError for content that is refused; StoreError. Then `directory` is as it was.
    """
    with Staging(directory, existing=existing) as staging:
        jobs: list[Job] = []
        names: list[str] = []
        for desc in layers:
            name = check_name(desc.annotations.get(TITLE) or f"{desc.digest.algorithm}-{desc.digest.hex}")
            is_tree = desc.media_type == DIRECTORY
            if existing == "ignore" and (os.path.lexists(directory / name) if is_tree else not staging.wants(name)):
                continue
            names.append(name)
            layer = _layer(desc, name)
            write = (
                partial(_write_tree, store, layer, staging) if is_tree else partial(_write_file, store, layer, staging)
            )
            jobs.append(Job(str(desc.digest), layer.path, size=desc.size, reads=desc.size, write=write))
        run_jobs(jobs, concurrency, progress)
        staging.commit()
    return tuple(names)


def save_blob(store: ReadOnlyStorage, desc: Descriptor, target: Path, progress: Progress) -> None:
    """Write one blob to a file that appears, or takes another one's place, once it is whole and verified.

    Raises: UsageError where `target` is no regular file; NotFoundError; IntegrityError; NetworkError; StoreError.
    """
    if target.exists() and not target.is_file():
        raise UsageError(f"{target}: exists and is no regular file")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    folder = _Beside(target)
    layer = _layer(desc, target.name)
    job = Job(
        str(desc.digest), layer.path, size=desc.size, reads=desc.size, write=partial(_write_file, store, layer, folder)
    )
    try:
        run_jobs([job], 1, progress)
        with disk_errors(target):
            folder.staged.replace(target)
    finally:
        folder.staged.unlink(missing_ok=True)


class _Beside:
    """A folder for one file, beside the place that it will have."""

    def __init__(self, target: Path) -> None:
        self.staged = target.with_name(f".{target.name[:100]}.{os.getpid()}-{os.urandom(4).hex()}")

    @contextmanager
    def file(self, path: str, *, mode: int) -> Iterator[StagedFile]:
        # Read too: what was written is hashed by a second thread. The umask does the rest of the mode.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with disk_errors(self.staged):
            stream = os.fdopen(os.open(self.staged, flags, 0o666), "r+b", buffering=0)
        with stream, disk_errors(self.staged):
            yield stream

    def directory(self, path: str) -> None:
        raise AssertionError("a blob is one file")

    def wants(self, path: str) -> bool:
        return True


def _write_file(store: ReadOnlyStorage, layer: KitLayer, folder: Staging | _Beside, moved: Moved) -> None:
    assert layer.files is not None
    write_raw(store, layer, layer.files, folder, moved)


def _write_tree(store: ReadOnlyStorage, layer: KitLayer, staging: Staging, moved: Moved) -> None:
    write_tar(store, layer, Rebased(staging, layer), moved, wanted=None)


def _layer(desc: Descriptor, name: str) -> KitLayer:
    is_tree = desc.media_type == DIRECTORY
    return KitLayer(
        desc,
        kind="tar" if is_tree else "raw",
        compression="gzip" if is_tree else "none",
        cls=Class.DATASETS,  # of no consequence: what is read here is no kit
        entry=name,
        path=name,
        files=None if is_tree else (FileRecord(name, desc.size, _MODE, desc.digest, 0),),
        root=str(PurePosixPath(name).parent),
    )
