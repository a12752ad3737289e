"""The files below a directory, in the order in which a tar holds them. Nothing is opened but directories.

Links are judged by where they really lead (`os.path.realpath`): to a regular file or a directory inside the root, or
inside the one further root that the caller allows. Then they stand for it, because a kit holds no links. Everything
else that is neither a regular file nor a directory is refused by name, never passed over in silence.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlkit.archive.encoding import require_utf8
from mlkit.archive.limits import DEFAULT_LIMITS, Limits
from mlkit.archive.names import NameSet, check_name, shown
from mlkit.errors import ConflictError, LimitError, StoreError, UnsafeError, UsageError

_SPECIAL = {
    stat_module.S_IFIFO: "a named pipe",
    stat_module.S_IFSOCK: "a socket",
    stat_module.S_IFCHR: "a character device",
    stat_module.S_IFBLK: "a block device",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file that can be packed."""

    path: str
    """Relative to the root, POSIX, checked by `check_name`."""
    real: str
    """The path of the file itself, links followed: open it with O_NOFOLLOW and compare with `stat`."""
    size: int
    mode: int
    """0o644, or 0o755 where its owner may execute it."""
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class EmptyDirectory:
    """A directory with nothing in it at all, ignored or not."""

    path: str


def walk(
    root: Path,
    *,
    follow_links: Path | None = None,
    skip: Callable[[str, bool], bool] = lambda _path, _is_dir: False,
    enters: Callable[[str], bool] = lambda _path: True,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[SourceFile | EmptyDirectory]:
    """Everything to pack below `root`, in the order of the bytes of the paths.

    `skip(path, is_dir)` is asked first, before a name or a type is judged; a directory that it skips is not entered. A
    link inside the root may not lead to something that is skipped, or it would bring in what was left out on purpose.
    `enters(path)` is asked before that: what it denies is passed over too, but nobody meant to leave it out, so links
    may lead there. `follow_links` is a further directory that links may lead into (the cache of a download).

    Raises: UsageError where the root is no directory or cannot be read, and under a locale without UTF-8; UnsafeError
    for a name, link or special file that no kit may hold; LimitError; ConflictError where a file disappears meanwhile;
    StoreError where the disk fails.
    """
    require_utf8()
    try:
        real_root = os.path.realpath(root, strict=True)
        is_dir = stat_module.S_ISDIR(os.stat(real_root).st_mode)  # noqa: PTH116 - str paths throughout, for speed
    except OSError as error:
        raise UsageError(f"{shown(str(root))}: cannot be read ({error.strerror})") from error
    if not is_dir:
        raise UsageError(f"{shown(str(root))}: not a directory")
    further_root = None if follow_links is None else os.path.realpath(follow_links)
    yield from _Walk(real_root, further_root, skip, enters, limits).below("", real_root, (real_root,))


class _Walk:
    def __init__(
        self,
        root: str,
        further_root: str | None,
        skip: Callable[[str, bool], bool],
        enters: Callable[[str], bool],
        limits: Limits,
    ) -> None:
        self._root = root
        self._further_root = further_root
        self._skip = skip
        self._enters = enters
        self._limits = limits
        self._names = NameSet()

    def below(self, prefix: str, directory: str, above: tuple[str, ...]) -> Iterator[SourceFile | EmptyDirectory]:
        """`above` holds the real paths of this directory and of those that led to it, to see loops."""
        entries = self._listed(prefix, directory)
        found: list[tuple[bytes, str, str, os.stat_result]] = []
        for entry in entries:
            path = prefix + entry.name
            try:
                is_dir = entry.is_dir(follow_symlinks=False)
                if not self._enters(path) or self._skip(path, is_dir):
                    continue
                if entry.is_symlink():
                    real, stat = self._followed(path, entry.path, above)
                    # A link to a directory is skipped by the rules for directories too.
                    if stat_module.S_ISDIR(stat.st_mode) and self._skip(path, True):
                        continue
                else:
                    real, stat = entry.path, entry.stat(follow_symlinks=False)
            except OSError as error:
                raise _failed(path, error) from error
            is_dir = stat_module.S_ISDIR(stat.st_mode)
            order = os.fsencode(entry.name) + (b"/" if is_dir else b"")
            found.append((order, path, real, stat))
        found.sort(key=lambda item: item[0])
        for _, path, real, stat in found:
            check_name(path, limits=self._limits)
            if stat_module.S_ISDIR(stat.st_mode):
                self._take(path, is_dir=True)
                yield from self.below(path + "/", real, (*above, real))
            elif stat_module.S_ISREG(stat.st_mode):
                self._take(path, is_dir=False)
                mode = 0o755 if stat.st_mode & stat_module.S_IXUSR else 0o644
                yield SourceFile(path, real, stat.st_size, mode, stat)
            else:
                kind = _SPECIAL.get(stat_module.S_IFMT(stat.st_mode), "a special file")
                raise UnsafeError(
                    f"{shown(path)} is {kind} (expected a regular file or a directory)",
                    hint="Name it in .kitignore, or move it out of the directory.",
                )
        if not entries and prefix:
            yield EmptyDirectory(prefix[:-1])

    def _listed(self, prefix: str, directory: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as entries:
                return list(entries)
        except OSError as error:
            raise _failed(prefix or directory, error) from error

    def _followed(self, path: str, link: str, above: tuple[str, ...]) -> tuple[str, os.stat_result]:
        try:
            real = os.path.realpath(link, strict=True)
            stat = os.lstat(real)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnsafeError(f"{shown(path)} is a link that leads back to itself") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                target = shown(str(Path(link).readlink()))
                raise UnsafeError(
                    f"{shown(path)} is a link to {target}, which does not exist",
                    hint="Mend the link, or name it in .kitignore.",
                ) from error
            raise
        is_dir = stat_module.S_ISDIR(stat.st_mode)
        if is_dir and any(_is_within(parent, real) for parent in above):
            raise UnsafeError(f"{shown(path)} is a link to a directory that holds it, {shown(real)}")
        if self._further_root is not None and _is_within(real, self._further_root):
            return real, stat
        if not _is_within(real, self._root):
            raise UnsafeError(
                f"{shown(path)} is a link to {shown(real)}, outside of the directory that is packed",
                hint="Copy the file into the directory, or allow its directory with --follow-links.",
            )
        self._refuse_skipped(path, real, is_dir)
        return real, stat

    def _refuse_skipped(self, path: str, real: str, is_dir: bool) -> None:
        parts = os.path.relpath(real, self._root).split("/")
        for depth in range(1, len(parts) + 1):
            target = "/".join(parts[:depth])
            if self._skip(target, is_dir or depth < len(parts)):
                raise UnsafeError(
                    f"{shown(path)} is a link to {shown(target)}, which is ignored",
                    hint="Ignore the link too, or allow its directory with --follow-links.",
                )

    def _take(self, path: str, *, is_dir: bool) -> None:
        if is_dir:
            self._names.add_directory(path)
        else:
            self._names.add_file(path)
        if len(self._names) > self._limits.entries:
            raise LimitError(f"more than {self._limits.entries} files and directories to pack")


def _is_within(path: str, root: str) -> bool:
    """By component, never by string prefix: `/a` does not hold `/ab`."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _failed(path: str, error: OSError) -> ConflictError | StoreError | UsageError:
    if error.errno == errno.ENOENT:
        return ConflictError(f"{shown(path)} disappeared while packing")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(f"{shown(path)}: cannot be read ({error.strerror})")
    return StoreError(f"{shown(path)}: cannot be read ({error.strerror})")
