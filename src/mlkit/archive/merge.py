"""Staged files into a directory that exists: decided as a whole, then moved, and moved back where a move fails."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mlkit.archive.directories import Directories
from mlkit.archive.names import shown
from mlkit.errors import ConflictError

Existing = Literal["refuse", "overwrite", "ignore"]
"""What becomes of files that are in the destination already."""

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
# FAT, some network and FUSE file systems have no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)
_SHOWN_CONFLICTS = 10

_How = Literal["move", "link", "replace"]


def merge(staged: Directories, target: Directories, replaced: int, *, existing: Existing) -> None:
    """Move everything below `staged` to the same place below `target`.

    `replaced` is an open empty directory beside `staged` for what is overwritten. Raises: ConflictError that names what
    exists and may not be replaced, and UnsafeError where a directory of the target is a link, both before anything is
    moved; OSError, and ConflictError where something appeared meanwhile, after what had been moved has been moved back.
    """
    moves, conflicts = _plan(staged, target, existing)
    if conflicts:
        raise exists_already(conflicts) if existing == "refuse" else _in_the_way(conflicts)
    done: list[tuple[_Move, _How]] = []
    try:
        for number, move in enumerate(moves):
            # Noted before it is done, so that an interruption in between is undone too.
            done.append((move, "replace" if move.replaces else "move" if move.is_dir else "link"))
            if move.replaces:
                _replace(staged, target, replaced, move, str(number))
            elif not move.is_dir and not _link(staged, target, move):
                done[-1] = (move, "move")
                _rename(staged, target, move)
            elif move.is_dir:
                _rename(staged, target, move)
    except BaseException as error:
        for number, (move, how) in reversed(list(enumerate(done))):
            with suppress(OSError):
                _undo(staged, target, replaced, move, how, str(number))
        if isinstance(error, OSError) and error.errno in _TAKEN:
            raise ConflictError(f"{shown(done[-1][0].path)} appeared in the destination meanwhile") from error
        raise


def exists_already(paths: list[str]) -> ConflictError:
    """The error for files of the destination that may not be replaced."""
    return ConflictError(
        f"{_listed(paths)} already in the destination",
        hint="--overwrite replaces such files, --ignore-existing keeps them.",
    )


def _in_the_way(paths: list[str]) -> ConflictError:
    return ConflictError(
        f"{_listed(paths)} in the destination is of another kind than in the kit (a directory, a file, a special file)",
        hint="Move it away, or choose another destination.",
    )


def _listed(paths: list[str]) -> str:
    names = ", ".join(shown(path) for path in paths[:_SHOWN_CONFLICTS])
    return f"{names} and {len(paths) - _SHOWN_CONFLICTS} more" if len(paths) > _SHOWN_CONFLICTS else names


@dataclass(frozen=True, slots=True)
class _Move:
    directory: str
    name: str
    is_dir: bool
    replaces: bool
    identity: tuple[int, int]
    """Device and inode of what is moved."""

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}" if self.directory else self.name


def _plan(staged: Directories, target: Directories, existing: Existing) -> tuple[list[_Move], list[str]]:
    moves: list[_Move] = []
    conflicts: list[str] = []
    pending = [""]
    while pending:
        directory = pending.pop()
        source, sink = staged.open(directory), target.open(directory)
        for name in sorted(os.listdir(source)):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            is_dir = stat.S_ISDIR(status.st_mode)
            path = f"{directory}/{name}" if directory else name
            try:
                other = os.stat(name, dir_fd=sink, follow_symlinks=False)
            except FileNotFoundError:
                # A directory that is not there moves as a whole, with all that is in it.
                moves.append(_Move(directory, name, is_dir, False, (status.st_dev, status.st_ino)))
                continue
            if is_dir and (stat.S_ISDIR(other.st_mode) or stat.S_ISLNK(other.st_mode)):
                pending.append(path)
            elif existing == "overwrite" and not is_dir and stat.S_IFMT(other.st_mode) in (stat.S_IFREG, stat.S_IFLNK):
                moves.append(_Move(directory, name, False, True, (status.st_dev, status.st_ino)))
            elif existing != "ignore" or is_dir or stat.S_ISDIR(other.st_mode):
                conflicts.append(path)
    return moves, conflicts


def _rename(staged: Directories, target: Directories, move: _Move) -> None:
    os.rename(move.name, move.name, src_dir_fd=staged.open(move.directory), dst_dir_fd=target.open(move.directory))


def _link(staged: Directories, target: Directories, move: _Move) -> bool:
    """Unlike a rename, a link never replaces a file that appeared meanwhile. False where there are no links."""
    try:
        os.link(
            move.name,
            move.name,
            src_dir_fd=staged.open(move.directory),
            dst_dir_fd=target.open(move.directory),
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def _replace(staged: Directories, target: Directories, replaced: int, move: _Move, backup: str) -> None:
    sink = target.open(move.directory)
    try:
        # The old file keeps its place until the new one takes it, in one step.
        os.link(move.name, backup, src_dir_fd=sink, dst_dir_fd=replaced, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(move.name, backup, src_dir_fd=sink, dst_dir_fd=replaced)
    _rename(staged, target, move)


def _undo(staged: Directories, target: Directories, replaced: int, move: _Move, how: _How, backup: str) -> None:
    sink = target.open(move.directory)
    if how == "replace":
        os.rename(backup, move.name, src_dir_fd=replaced, dst_dir_fd=sink)
        return
    # Only what is ours: the move that failed did so because something else is there.
    status = os.stat(move.name, dir_fd=sink, follow_symlinks=False)
    if (status.st_dev, status.st_ino) != move.identity:
        return
    if how == "link":
        os.unlink(move.name, dir_fd=sink)
    else:
        os.rename(move.name, move.name, src_dir_fd=sink, dst_dir_fd=staged.open(move.directory))
