"""Files into a directory: all of them, or none.

Files are staged in a private directory on the file system of the destination and moved there at the end. Until then the
destination is as it was; a run that is killed leaves its private directory behind, which the next run removes. What is
killed within the few renames of a merge into an existing directory leaves some files moved and others not.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from mlkit.archive.directories import OPEN_DIRECTORY, Directories
from mlkit.archive.disk import require_space, store_error, translated
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.archive.merge import Existing, exists_already, merge
from mlkit.archive.names import NameSet, check_name, shown
from mlkit.archive.partial import Partial, reap
from mlkit.archive.reader import TarReader
from mlkit.errors import ConflictError, UnsafeError, UsageError
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The destination itself may be a link: the user named it.
_DESTINATION = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TREE = "tree"
_REPLACED = "replaced"
_CHUNK = 1 << 20
_THREAD_FROM = 4 << 20
"""Bytes of a file from which on a second thread hashes it; below, handing over costs more than it gives."""
_SPACE_EVERY = 64 << 20
"""Bytes after which the free space is looked at again."""


class StagedFile(Protocol):
    """A new file, open for reading and writing."""

    def fileno(self) -> int: ...


class Folder(Protocol):
    """What a tar is extracted into; `Staging` is one."""

    def file(self, path: str, *, mode: int) -> AbstractContextManager[StagedFile]: ...

    def directory(self, path: str) -> None: ...

    def wants(self, path: str) -> bool: ...


class Staging:
    """Files on their way into a directory. Its methods may be called from several threads, `commit` once they are done.

    Leaving the context without `commit` drops everything and leaves the destination as it was.
    """

    def __init__(self, destination: Path, *, existing: Existing = "refuse") -> None:
        """`existing` says what becomes of files that are there: an error, replaced, or kept.

        The destination itself may be a link, because the user named it; below it no link is followed.
        """
        self._existing = existing
        self._destination = Path(os.path.abspath(destination))  # noqa: PTH100 - links stay as they are named
        self._names = NameSet()
        self._files: set[str] = set()
        self._lock = threading.Lock()
        self._is_left = False

    def __enter__(self) -> Self:
        """Raises: UsageError where the destination is no directory, StoreError where it cannot be written."""
        destination = self._destination
        with translated(destination):
            self.is_new = not os.path.lexists(destination)
            if not self.is_new and not destination.is_dir():
                raise UsageError(f"{shown(str(destination))}: exists and is no directory (expected one, or nothing)")
            self._made = _make_parents(destination)
            reap(destination.parent, destination.name)
            if not self.is_new:
                reap(destination, destination.name)
            # Inside of a destination that exists: its parent may be another file system, or not ours to write.
            self._partial = Partial.create(destination.parent if self.is_new else destination, destination.name)
            try:
                self._open()
            except BaseException:
                self._partial.remove()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_left = True
            self._staged.close()
            os.close(self._tree)
            if self._target is not None:
                self._target.close()
                os.close(self._target_root)
        self._partial.remove()
        for directory in reversed(self._made):
            # Those that hold something by now are somebody's, be it ours.
            with suppress(OSError):
                directory.rmdir()

    def file(self, path: str, *, mode: int) -> NewFile:
        """A new file, to be entered; executable where `mode` says so for its owner, otherwise as the umask has it.

        Raises: UnsafeError for a path that is unsafe or taken; ConflictError where the destination has such a file and
        may not lose it; StoreError where the disk fails, in the body too.
        """
        return NewFile(self, check_name(path), 0o755 if mode & stat.S_IXUSR else 0o644)

    def directory(self, path: str) -> None:
        """A directory, with those above it; again is fine. Raises: UnsafeError, StoreError."""
        check_name(path)
        with translated(path), self._lock:
            self._require_entered()
            self._names.add_directory(path)
            self._staged.open(path, make=True)

    def wants(self, path: str) -> bool:
        """False for a file that the destination has and keeps. Raises: UnsafeError where a link is on the way to it."""
        if self._existing != "ignore" or self._target is None:
            return True
        with translated(path), self._lock:
            self._require_entered()
            return self._target.look(path) is None

    def check(self, paths: list[str]) -> None:
        """Before the work begins: raises ConflictError that names those of `paths` which may not be written."""
        if self._existing == "refuse" and self._target is not None:
            with translated(self._destination), self._lock:
                self._require_entered()
                conflicts = [path for path in paths if self._target.look(path) is not None]
            if conflicts:
                raise exists_already(conflicts)

    def commit(self) -> tuple[str, ...]:
        """Move everything into the destination, and give the paths of the files, sorted.

        Raises: ConflictError and UnsafeError before anything is moved; after a StoreError what had been moved has been
        moved back, as far as the disk allows.
        """
        with translated(self._destination):
            if self._target is None:
                self._rename_whole()
            else:
                os.mkdir(_REPLACED, 0o700, dir_fd=self._partial.directory)
                replaced = os.open(_REPLACED, OPEN_DIRECTORY, dir_fd=self._partial.directory)
                try:
                    merge(self._staged, self._target, replaced, existing=self._existing)
                finally:
                    os.close(replaced)
        return tuple(sorted(self._files))

    def drop(self, path: str) -> None:
        """Take back a file that was written and closed: its name is free again. Raises: StoreError."""
        parent, _, name = path.rpartition("/")
        with translated(path), self._lock:
            self._require_entered()
            os.unlink(name, dir_fd=self._staged.open(parent))
            self._names.free_file(path)
            self._files.remove(path)

    def _create(self, path: str, mode: int) -> int:
        parent, _, name = path.rpartition("/")
        with self._lock:
            self._require_entered()
            if self._existing == "refuse" and self._target is not None and self._target.look(path) is not None:
                raise exists_already([path])
            self._names.add_file(path)
            directory = self._staged.open(parent, make=True)
            try:
                descriptor = os.open(name, _NEW_FILE, mode, dir_fd=directory)
            except FileExistsError as error:
                raise UnsafeError(f"{shown(path)}: this file system has another name for it already") from error
            self._files.add(path)
        return descriptor

    def _require_entered(self) -> None:
        # A thread that outlives the context must not use its descriptors: their numbers may mean others by now.
        if self._is_left:
            raise RuntimeError("the staging directory is used after its context was left")

    def _open(self) -> None:
        os.mkdir(_TREE, 0o755, dir_fd=self._partial.directory)
        self._tree = os.open(_TREE, OPEN_DIRECTORY, dir_fd=self._partial.directory)
        self._staged = Directories(self._tree)
        self._target: Directories | None = None
        if not self.is_new:
            self._target_root = os.open(self._destination, _DESTINATION)
            self._target = Directories(self._target_root)

    def _rename_whole(self) -> None:
        try:
            os.rename(
                _TREE,
                self._destination.name,
                src_dir_fd=self._partial.directory,
                dst_dir_fd=self._partial.above,
            )
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise ConflictError(f"{shown(str(self._destination))}: appeared while it was written") from error


class NewFile:
    """A staged file, open for reading and writing while its context lasts.

    No generator and no file object of Python's: with many small files, those would be a third of the work.
    """

    __slots__ = ("_descriptor", "_mode", "_path", "_staging")

    def __init__(self, staging: Staging, path: str, mode: int) -> None:
        self._staging = staging
        self._path = path
        self._mode = mode
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = self._staging._create(self._path, self._mode)
        except OSError as error:
            raise store_error(error, self._path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._descriptor)
        except OSError as failure:
            # Network file systems tell of a full disk here.
            error = error or failure
        if isinstance(error, OSError):
            raise store_error(error, self._path) from error

    def fileno(self) -> int:
        return self._descriptor

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append all of it."""
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file that was extracted."""

    path: str
    size: int
    digest: Digest
    """sha256 of what was written."""


def extract_tar(
    stream: BinaryIO,
    staging: Folder,
    *,
    wanted: Callable[[str], bool] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    only: str | None = None,
    progress_bytes: Callable[[int], None] | None = None,
) -> tuple[FileSeen, ...]:
    """Write the files of a tar for which `wanted` says so, and read the stream to its end.

    Directories come along where everything is wanted; otherwise only those that files need. `progress_bytes` is told of
    bytes written. Raises: what `TarReader` and `Staging.file` raise; StoreError before a file that has no room.
    """
    seen: list[FileSeen] = []
    unchecked = _SPACE_EVERY
    with _Copy(progress_bytes) as copy:
        for member, data in TarReader(stream, limits=limits, only=only):
            if member.is_dir:
                if wanted is None:
                    staging.directory(member.name)
                continue
            if (wanted is not None and not wanted(member.name)) or not staging.wants(member.name):
                continue
            with staging.file(member.name, mode=member.mode) as target:
                descriptor = target.fileno()
                unchecked += member.size
                if unchecked >= _SPACE_EVERY:
                    require_space(descriptor, member.name, member.size, limits)
                    unchecked = 0
                digest = copy.run(data, descriptor, member.size)
            seen.append(FileSeen(member.name, member.size, digest))
    return tuple(seen)


def check_destination(path: Path, *, store: Path | None = None, home: Path | None = None) -> None:
    """Refuse places that nobody means to fill. Raises: UsageError for the root, the home directory, the store or a
    directory in it, a file, and a place that cannot be written.
    """
    real = Path(os.path.realpath(path))
    shown_path = shown(str(path))
    if real == Path(real.anchor):
        raise UsageError(f"{shown_path} is the root of the file system (expected a directory of its own)")
    if home is not None and real == Path(os.path.realpath(home)):
        raise UsageError(f"{shown_path} is the home directory (expected a directory of its own)")
    if store is not None and real.is_relative_to(os.path.realpath(store)):
        raise UsageError(f"{shown_path} is in the store of mlkit (expected a directory of its own)")
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{shown_path} is a link to nothing (expected a directory)")
    place = next(parent for parent in (real, *real.parents) if parent.exists())
    if not place.is_dir():
        raise UsageError(f"{shown(str(place))} is a file (expected a directory)")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{shown(str(place))} cannot be written by this user")


class _Copy:
    """Copies data to files and hashes it, large files in a second thread: sha256 is slower than the disk cache."""

    def __init__(self, progress_bytes: Callable[[int], None] | None) -> None:
        self._progress_bytes = progress_bytes
        self._buffers = (memoryview(bytearray(_CHUNK)), memoryview(bytearray(_CHUNK)))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlkit-hash")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def run(self, data: BinaryIO, descriptor: int, size: int) -> Digest:
        hasher = hashlib.sha256()
        if size >= _THREAD_FROM:
            self._run_beside(data, descriptor, hasher, size)
        else:
            left = size
            while left:
                chunk = data.read(min(left, _CHUNK))
                hasher.update(chunk)
                self._write(descriptor, chunk)
                left -= len(chunk)
        return Digest.finished(hasher)

    def _run_beside(self, data: BinaryIO, descriptor: int, hasher: _Hash, size: int) -> None:
        readinto: Callable[[memoryview], int] = data.readinto  # type: ignore[attr-defined]  # TarReader's streams have it
        hashing: Future[None] | None = None
        left, turn = size, 0
        while left:
            view = self._buffers[turn]
            view = view[: readinto(view)]
            if hashing is not None:
                hashing.result()
            hashing = self._thread.submit(hasher.update, view)
            self._write(descriptor, view)
            left -= len(view)
            turn = 1 - turn
        if hashing is not None:
            hashing.result()

    def _write(self, descriptor: int, chunk: bytes | memoryview) -> None:
        written = os.write(descriptor, chunk)
        while written < len(chunk):
            written += os.write(descriptor, memoryview(chunk)[written:])
        if self._progress_bytes is not None:
            self._progress_bytes(written)


def _make_parents(destination: Path) -> list[Path]:
    """The directories that had to be made above it, outermost first."""
    missing = [parent for parent in destination.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
    return missing[::-1]
