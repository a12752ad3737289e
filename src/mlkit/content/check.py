"""Is a layout what it should be: marker, index, every manifest and blob that the index reaches. Changes nothing.

`check` looks at names, sizes and documents; deep, it hashes every byte of every blob, several at once.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlkit.content.blobs import ALGORITHMS, BlobOnDisk, Trouble
from mlkit.content.graph import DEPTH_LIMIT, below, document, is_document
from mlkit.content.index import LayoutIndex
from mlkit.content.layout import Layout, check_marker
from mlkit.content.lock import disk_errors
from mlkit.content.repair import rebuilt
from mlkit.errors import IntegrityError, LimitError, MlkitError, NotFoundError, StoreError
from mlkit.progress import NoProgress, Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM, PARTIAL

Kind = Literal[
    "marker", "index", "lost", "name", "missing", "damaged", "unreadable", "misplaced", "document", "partial"
]
"""What is wrong: with `oci-layout`, with `index.json`, a change that another program wrote over, a name that is bad or
given twice; a blob that is not there, whose bytes are others, that the disk does not give, that is no regular file,
that is sound and no manifest; a kit that lacks layers on purpose."""

_NO_DAMAGE = frozenset({"partial"})


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is not as it should be."""

    kind: Kind
    message: str
    """A sentence."""
    desc: Descriptor | None = None
    """The content that it is about; only its digest means anything where no manifest lists it."""
    roots: tuple[Descriptor, ...] = ()
    """The entries of the index that need it, with the annotations of the entries."""
    names: tuple[str, ...] = ()
    """The names of those, or what a name is about."""
    is_damage: bool = True
    """Whether something has to be done."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what came of it."""

    found: tuple[Found, ...]
    kits: int
    """Manifests in the index."""
    blobs: int
    hashed_bytes: int


def check(layout: Layout, *, deep: bool = False, threads: int = 2, progress: Progress | None = None) -> Checked:
    """Look at everything. Raises: StoreError where the folder itself cannot be read."""
    found: list[Found] = []
    try:
        check_marker(layout.root)
    except StoreError as error:
        found.append(Found("marker", error.message))
    try:
        settled = layout.index_file.settled()
        index = settled.index
        found += [
            Found("lost", f"{ascii(name)[:200]}: another program wrote index.json over without it", names=(name,))
            for name in settled.lost
        ]
    except StoreError as error:
        found.append(Found("index", error.message))
        # What would be the index after a repair: so that one run tells all that is wrong.
        index = rebuilt(layout)
    found += _of_names(index)
    graph = _Graph(layout, index)
    graph.walk()
    found += graph.found()
    on_disk = sorted(layout.blobs.listing(), key=lambda blob: blob.digest)
    found += _strangers(layout, {one.desc.digest for one in found if one.desc is not None})
    hashed = 0
    if deep:
        known = {one.desc.digest for one in found if one.desc is not None and one.kind != "partial"}
        for blob, problem in _hash_all(layout, on_disk, threads, progress or NoProgress()):
            hashed += blob.size
            if problem is not None and blob.digest not in known:
                found.append(graph.at(blob.digest, *problem))
    kits = len({entry.desc.digest for entry in index.entries if entry.desc is not None})
    return Checked(tuple(found), kits, len(on_disk), hashed)


def _of_names(index: LayoutIndex) -> Iterator[Found]:
    for name in index.bad_names:
        shown = ascii(name)[:200]
        yield Found("name", f"index.json: {shown} is not a name, and is ignored", names=(name,), is_damage=False)
    for name in index.ambiguous_names:
        yield Found("name", f"index.json: {name} is given to more than one manifest", names=(name,))


@dataclass
class _Graph:
    """What the index reaches, each digest once, however broken some of it is."""

    layout: Layout
    index: LayoutIndex
    _needed: dict[Digest, tuple[Descriptor, list[Descriptor]]] = field(default_factory=dict)
    _problems: dict[Digest, tuple[Kind, str]] = field(default_factory=dict)
    _absent: dict[Digest, int] = field(default_factory=dict)

    def found(self) -> list[Found]:
        """What is wrong below the entries of the index."""
        found = [self.at(digest, *problem) for digest, problem in self._problems.items()]
        for entry in self.index.entries:
            count = 0 if entry.desc is None else self._absent.pop(entry.desc.digest, 0)
            if entry.desc is not None and count:
                name = entry.name or str(entry.desc.digest)
                what = "1 layer is" if count == 1 else f"{count} layers are"
                found.append(
                    Found("partial", f"{what} not here, on purpose", entry.desc, (entry.desc,), (name,), False)
                )
        return found

    def at(self, digest: Digest, kind: Kind, message: str) -> Found:
        """A finding about some content, with who needs it."""
        desc, roots = self._needed.get(digest, (Descriptor(OCTET_STREAM, digest, 0), []))
        return _at(kind, message, desc, roots, self._names(digest))

    def walk(self) -> None:
        """Go down from every entry."""
        roots: dict[Digest, Descriptor] = {}
        for entry in self.index.entries:
            if entry.desc is not None:
                # Whole under one name is whole under all; an entry that says so wins over one that does not.
                known = roots.get(entry.desc.digest)
                if known is None or PARTIAL in known.annotations:
                    roots[entry.desc.digest] = entry.desc
        for root in roots.values():
            self._walk(root, root, set(), 0)

    def _walk(self, desc: Descriptor, root: Descriptor, seen: set[Digest], depth: int) -> None:
        if desc.digest in seen or depth > DEPTH_LIMIT + 1:
            return
        seen.add(desc.digest)
        _, roots = self._needed.setdefault(desc.digest, (desc, []))
        roots.append(root)
        problem = self._problem(desc)
        is_partial = root.annotations.get(PARTIAL) == "true"
        if problem is not None and problem[0] == "missing" and is_partial and desc is not root:
            self._absent[root.digest] = self._absent.get(root.digest, 0) + 1
            return
        if problem is not None:
            self._problems[desc.digest] = problem
            return
        if not is_document(desc):
            return
        try:
            children = below(document(self.layout, desc))
        except (IntegrityError, LimitError) as error:
            sound = self.layout.blobs.problem(desc.digest) is None
            self._problems[desc.digest] = (
                ("document", f"is no manifest: {error.message}") if sound else ("damaged", "its bytes are others")
            )
            return
        except MlkitError as error:
            self._problems[desc.digest] = ("unreadable", f"cannot be read: {error.message}")
            return
        for child in children:
            self._walk(child, root, seen, depth + 1)

    def _problem(self, desc: Descriptor) -> tuple[Kind, str] | None:
        size = self.layout.blobs.size(desc.digest)
        if size == desc.size:
            return None
        if size is not None:
            return "damaged", f"has {size} bytes (expected {desc.size})"
        if os.path.lexists(self.layout.blobs.path(desc.digest)):
            return "misplaced", "in its place is something that is no regular file"
        return "missing", "is not here"

    def _names(self, digest: Digest) -> tuple[str, ...]:
        wanted = {root.digest for root in self._needed[digest][1]} if digest in self._needed else set()
        named = [entry for entry in self.index.entries if entry.desc is not None and entry.desc.digest in wanted]
        return tuple(dict.fromkeys(entry.name or str(entry.value["digest"]) for entry in named))


def _at(kind: Kind, message: str, desc: Descriptor, roots: Iterable[Descriptor], names: tuple[str, ...] = ()) -> Found:
    roots = tuple(roots)
    what = "manifest" if is_document(desc) else "blob"
    shown = f"{what} {desc.digest.algorithm}:{desc.digest.short}"
    return Found(kind, f"{shown}: {message}", desc, roots, names, is_damage=kind not in _NO_DAMAGE)


def _strangers(layout: Layout, known: set[Digest]) -> Iterator[Found]:
    """What lies among the blobs under the name of one and is none."""
    for algorithm in ALGORITHMS:
        folder = layout.root / "blobs" / algorithm
        with disk_errors(folder):
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
        for name in names:
            try:
                digest = Digest.parse(f"{algorithm}:{name}")
            except IntegrityError:
                continue
            if digest not in known and not _is_file(folder / name):
                yield _at(
                    "misplaced", "is no regular file, and no kit needs it", Descriptor(OCTET_STREAM, digest, 0), ()
                )


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _hash_all(
    layout: Layout, blobs: list[BlobOnDisk], threads: int, progress: Progress
) -> Iterator[tuple[BlobOnDisk, Trouble | None]]:
    stop = threading.Event()

    def hashed(blob: BlobOnDisk) -> tuple[BlobOnDisk, Trouble | None]:
        if stop.is_set():
            return blob, None
        key = str(blob.digest)
        progress.start(key, blob.digest.short, blob.size)
        try:
            problem = layout.blobs.problem(blob.digest, stop)
        except NotFoundError:  # pruned meanwhile
            problem = None
        progress.advance(key, blob.size)
        progress.finish(key, "done" if problem is None else "failed")
        return blob, problem

    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="mlkit-check") as pool:
        try:
            yield from pool.map(hashed, blobs)
        except BaseException:
            stop.set()
            raise
