"""Folders for the files that a server reads: one for each run, gone at its end, or one for each kit, kept.

Whoever uses a folder holds a lock on the file beside it, which the kernel lets go of when its holder dies: what a
killed run left is found by that, and removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlkit.content.layout import CONTROL
from mlkit.content.lock import disk_errors
from mlkit.errors import ConflictError
from mlkit.spec.digest import Digest

SERVING = f"{CONTROL}/serve"
"""Below the local store's folder: what servers read."""

_LOCK = ".lock"


@contextmanager
def scratch_folder(root: Path, digest: Digest) -> Iterator[Path]:
    """An empty folder below `root` for one run of a kit; it is removed at the end. Raises: StoreError."""
    sweep(root)
    folder = root / f"{digest.hex[:16]}-{os.getpid()}"
    with _held(folder, is_shared=False):
        try:
            with disk_errors(folder):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(mode=0o700, parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(folder.name + _LOCK).unlink(missing_ok=True)


@contextmanager
def kept_folder(root: Path, digest: Digest, *, make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder below `root` that stays for a kit, after `make` has made it, or found that it is right as it is.

    `make` is alone with it, unless other runs serve from it: then it must find it right. Raises: StoreError.
    """
    folder = root / digest.hex
    with _held(folder, is_shared=True) as lock:
        is_alone = _try_alone(lock)
        try:
            make(folder)
        finally:
            if is_alone:
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder


def sweep(root: Path, *, keep: frozenset[str] | None = None) -> None:
    """Remove what nobody uses: of runs always, of kept folders where `keep` is given and has not their digest."""
    if not root.is_dir():
        return
    for entry in list(root.iterdir()):
        name = entry.name.removesuffix(_LOCK)
        is_of_a_run = "-" in name
        if not is_of_a_run and (keep is None or name in keep):
            continue
        with suppress(ConflictError), _held(root / name, is_shared=False):
            shutil.rmtree(root / name, ignore_errors=True)
            (root / (name + _LOCK)).unlink(missing_ok=True)


@contextmanager
def _held(folder: Path, *, is_shared: bool) -> Iterator[int]:
    path = folder.with_name(folder.name + _LOCK)
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _open_locked(path, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
    try:
        yield lock
    finally:
        os.close(lock)


def _open_locked(path: Path, kind: int) -> int:
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file: a lock on what has no name excludes nobody.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock)):
                return lock
        except BlockingIOError as error:
            os.close(lock)
            raise ConflictError(f"{path.with_suffix('')}: another run uses this folder") from error
        os.close(lock)


def _try_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # A conversion that fails lets go of the old lock first (flock(2)).
        fcntl.flock(lock, fcntl.LOCK_SH)
        return False
    return True
