"""An unpacked directory against the kit that it came from: what is missing, extra or changed.

The digests are the kit's own, from its documents: no layer is fetched, and every file of the directory is read once. A
link is never followed: what it leads to is not what was unpacked.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from mlkit.archive.encoding import require_utf8
from mlkit.archive.limits import DEFAULT_LIMITS
from mlkit.archive.names import shown
from mlkit.content.lock import as_store_error
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import LimitError, NotFoundError, UsageError
from mlkit.packing.chain import Parents, SourceKit, chosen_files, source_kits, without_doubles
from mlkit.packing.fetch import CHUNK, Moved
from mlkit.packing.jobs import Job, run_jobs
from mlkit.packing.kit import Kit
from mlkit.packing.members import members
from mlkit.packing.select import KITFILE_NAME, Selection, select
from mlkit.packing.staged import joined
from mlkit.progress import NoProgress, Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest

_NOTHING = NoProgress()


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not what the kit says."""

    path: str
    kind: Literal["missing", "extra", "changed"]
    reason: str | None = None
    """Of a changed one: its size, its digest, or that it is no file."""
    expected: Digest | None = None
    found: Digest | None = None
    """None where it was not read: it is missing, no file, or of another size."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A directory, compared."""

    files: int
    """How many files of the kit were looked for."""
    size: int
    """Bytes that were read."""
    differences: tuple[Difference, ...]
    """Sorted by path."""

    @property
    def is_same(self) -> bool:
        """Whether the directory holds what the kit says, and nothing else."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What a file must be."""

    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry of the directory that is no directory."""

    path: str
    size: int
    problem: str | None
    """What it is, where it is no regular file."""


def compare(
    kit: Kit,
    store: ReadOnlyStorage,
    directory: Path,
    *,
    selection: Selection | None = None,
    parents: Parents | None = None,
    is_here: Callable[[Descriptor], bool] = lambda _: True,
    concurrency: int = 4,
    progress: Progress = _NOTHING,
) -> Compared:
    """Compare what was selected of a kit, all of it by default, with a directory that it was unpacked into.

    A file that the kit has and that was not selected is passed over. Layers of other tools, whose files no document
    lists, are read where `is_here` says that they are. Raises: NotFoundError where they are not; UsageError for what is
    no directory; StoreError for what cannot be read; LimitError.
    """
    require_utf8()
    wanted = expected_files(kit, store, selection or select(kit, ()), parents, is_here)
    known = wanted if selection is None else expected_files(kit, store, select(kit, ()), parents, is_here)
    found = {entry.path: entry for entry in _walk(directory)}
    differences = [Difference(path, "missing", None, wanted[path].digest) for path in wanted if path not in found]
    differences += [Difference(path, "extra", found[path].problem) for path in found if path not in known]
    to_read: list[tuple[str, ExpectedFile]] = []
    for path, expected in wanted.items():
        entry = found.get(path)
        if entry is None:
            continue
        if entry.problem is not None or entry.size != expected.size:
            reason = entry.problem or f"{entry.size} bytes (expected {expected.size})"
            differences.append(Difference(path, "changed", reason, expected.digest))
        else:
            to_read.append((path, expected))
    digests: dict[str, Digest] = {}
    jobs = [
        Job(path, path, one.size, one.size, partial(_hash, directory / path, path, one.digest.algorithm, digests))
        for path, one in to_read
    ]
    run_jobs(jobs, concurrency, progress)
    differences += [
        Difference(path, "changed", f"{digests[path]} (expected {one.digest})", one.digest, digests[path])
        for path, one in to_read
        if digests[path] != one.digest
    ]
    return Compared(
        files=len(wanted),
        size=sum(one.size for _, one in to_read),
        differences=tuple(sorted(differences, key=lambda one: one.path)),
    )


def expected_files(
    kit: Kit,
    store: ReadOnlyStorage,
    selection: Selection,
    parents: Parents | None,
    is_here: Callable[[Descriptor], bool],
) -> Mapping[str, ExpectedFile]:
    """Size and digest of every file that unpacking would write, by path; where two kits have one, the nearest's.

    Raises: NotFoundError where that is not known without a layer that is not here.
    """
    sources = without_doubles(tuple(source_kits(kit, store, selection, parents)), "overwrite")
    expected: dict[str, ExpectedFile] = {}
    for source in sources:
        for path, one in _files_of(source, is_here):
            expected.setdefault(path, one)
    if selection.kitfile:
        text = kit.kitfile_text.encode("utf-8")
        expected.setdefault(KITFILE_NAME, ExpectedFile(len(text), Digest.of(text)))
    return expected


def _files_of(source: SourceKit, is_here: Callable[[Descriptor], bool]) -> Iterator[tuple[str, ExpectedFile]]:
    for chosen in source.selection.layers:
        layer = chosen.layer
        if layer.files is not None:
            for file in chosen_files(chosen):
                yield joined(source.path, file.path), ExpectedFile(file.size, file.digest)
            continue
        if not is_here(layer.desc):
            raise NotFoundError(
                f"{source.kit.manifest.descriptor.digest}: the files in {layer.desc.digest} are known only when that "
                "layer is read, and it is not in the local store",
                hint="`mlkit pull` brings it here",
            )
        for seen in members(layer, source.store):
            # A Kitfile in a layer of another tool is not unpacked (see `unpack`).
            if chosen.wants(seen.path) and not (layer.kind == "tar" and seen.path == KITFILE_NAME):
                yield joined(source.path, seen.path), ExpectedFile(seen.size, seen.digest)


def _walk(directory: Path) -> Iterator[_Found]:
    """Every entry below `directory` that is no directory, links unfollowed."""
    if not directory.is_dir():
        raise UsageError(f"{shown(str(directory))}: not a directory")
    folders = [""]
    count = 0
    while folders:
        prefix = folders.pop()
        try:
            with os.scandir(directory / prefix) as entries:
                for entry in entries:
                    count += 1
                    if count > DEFAULT_LIMITS.entries:
                        raise LimitError(
                            f"{shown(str(directory))}: more than {DEFAULT_LIMITS.entries} files and directories"
                        )
                    path = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/")
                    else:
                        yield _entry(path, entry)
        except OSError as error:
            raise as_store_error(error, directory / prefix) from error


def _entry(path: str, entry: os.DirEntry[str]) -> _Found:
    found = entry.stat(follow_symlinks=False)
    problem = None
    if stat.S_ISLNK(found.st_mode):
        problem = "is a link"
    elif not stat.S_ISREG(found.st_mode):
        problem = "is no regular file"
    return _Found(path, found.st_size, problem)


def _hash(file: Path, path: str, algorithm: str, digests: dict[str, Digest], moved: Moved) -> None:
    # O_NOFOLLOW and O_NONBLOCK: what was a file a moment ago may be a link or a pipe by now.
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            hasher = hashlib.new(algorithm)
            view = memoryview(bytearray(CHUNK))
            while count := stream.readinto(view):
                hasher.update(view[:count])
                moved(count)
    except OSError as error:
        raise as_store_error(error, file) from error
    digests[path] = Digest.finished(hasher)
