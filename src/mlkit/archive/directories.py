"""Directories below a root, held by descriptor: whoever swaps one for a link meanwhile gains nothing.

Every component is opened by itself and never through a link, so what is written lands below the root or nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from mlkit.archive.names import shown
from mlkit.errors import ConflictError, UnsafeError

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# More than the deepest path has components (`Limits.depth`), far fewer than a process may have open.
_HELD = 128


class Directories:
    """Descriptors of directories below an open root, the latest ones kept open. Not for several threads at once."""

    def __init__(self, root: int) -> None:
        """`root` stays the caller's to close."""
        self._root = root
        self._open: OrderedDict[str, int] = OrderedDict()

    def open(self, path: str, *, make: bool = False) -> int:
        """The descriptor of a directory, good until the next call; "" is the root.

        Raises: FileNotFoundError unless it is to be made; UnsafeError where a link is in the way; ConflictError where
        something else is; other OSError.
        """
        if not path:
            return self._root
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        parent, _, name = path.rpartition("/")
        above = self.open(parent, make=make)
        if make:
            _make(name, above)
        try:
            found = os.open(name, OPEN_DIRECTORY, dir_fd=above)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise _in_the_way(path, name, above) from error
        self._open[path] = found
        if len(self._open) > _HELD:
            os.close(self._open.popitem(last=False)[1])
        return found

    def look(self, path: str) -> os.stat_result | None:
        """What is at a path, links not followed; None for nothing. Raises: as `open`."""
        parent, _, name = path.rpartition("/")
        try:
            return os.stat(name, dir_fd=self.open(parent), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


def _make(name: str, above: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        return


def _in_the_way(path: str, name: str, above: int) -> UnsafeError | ConflictError:
    if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
        return UnsafeError(
            f"{shown(path)} is a link in the destination, which would lead the files elsewhere (expected a directory)",
            hint="Remove the link, or choose another destination.",
        )
    return ConflictError(f"{shown(path)} exists in the destination and is no directory (expected one)")
