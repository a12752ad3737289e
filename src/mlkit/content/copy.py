"""Moving a graph from one store to another: children before parents, each digest once, several blobs at a time.

One of the two places where mlkit has threads (design.md D13).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast, runtime_checkable

from mlkit.content.far import FarContent, is_far
from mlkit.content.graph import is_document, walk
from mlkit.content.pace import Connections, Ranges
from mlkit.content.storage import (
    BytesContent,
    Content,
    LostContent,
    ReadOnlyStorage,
    Storage,
    StoredContent,
)
from mlkit.content.verify import MeteredReader
from mlkit.progress import NoProgress, Outcome, Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import FILEPATH, TITLE

_STOP_WAIT = 1.5
"""Seconds that the other transfers are given to stop after an error; cli.md wants Ctrl-C to end within two."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy moved, and what it found in its place already."""

    root: Descriptor
    moved: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]
    read_bytes: int | None = None
    """What was read of `moved`, some of it twice perhaps; None for all of it, once."""
    resumed_bytes: int = 0
    """What an earlier run had brought of `moved`."""

    @property
    def moved_bytes(self) -> int:
        return sum(desc.size for desc in self.moved) if self.read_bytes is None else self.read_bytes

    @property
    def present_bytes(self) -> int:
        return sum(desc.size for desc in self.present)


@runtime_checkable
class Mounter(Protocol):
    """Optional capability: a repository that can take a blob from its neighbour without its bytes being sent."""

    @property
    def name(self) -> str:
        """`host/repository`."""

    def mount(self, desc: Descriptor, source_repository: str | None = None) -> bool:
        """Take a blob over from `source_repository`, or from where it was seen before; whether it is here now."""


def copy(
    source: ReadOnlyStorage,
    target: Storage,
    root: Descriptor,
    *,
    wanted: Callable[[Descriptor], bool] = lambda _: True,
    concurrency: int = 4,
    ranges: Ranges = "auto",
    progress: Progress | None = None,
) -> CopyResult:
    """Bring `root` and everything `wanted` below it to `target`; documents go last, each after all that it points at.

    `concurrency` blobs at once, each over as many connections as `ranges` says, from 256 MiB on where the source can be
    asked for parts; "auto" opens a second one only where it makes the blob arrive faster.

    Raises: what the stores raise; the other transfers are stopped then, and what has arrived whole stays.
    """
    blobs: list[Descriptor] = []
    documents: list[tuple[Descriptor, bytes]] = []
    for desc, found in walk(source, root, wanted=wanted):
        if found is None:
            blobs.append(desc)
        else:
            documents.append((desc, found.raw))
    connections = Connections.of(ranges, blobs_at_once=min(max(1, concurrency), max(1, len(blobs))))
    transfer = _Transfer(source, target, progress or NoProgress(), connections)
    outcomes = dict(zip(blobs, _in_threads(transfer, blobs, concurrency), strict=True))
    for desc, raw in documents:
        try:
            outcomes[desc] = transfer.move(desc, BytesContent(raw))
        except LostContent as error:
            lost = [blob for blob in blobs if blob.digest in error.digests]
            if not lost:
                raise
            for blob in lost:
                outcomes[blob] = transfer.move(blob, is_lost=True)
            outcomes[desc] = transfer.move(desc, BytesContent(raw))
    return CopyResult(
        root=root,
        moved=tuple(desc for desc, outcome in outcomes.items() if outcome == "done"),
        present=tuple(desc for desc, outcome in outcomes.items() if outcome == "present"),
        read_bytes=transfer.read_bytes,
        resumed_bytes=transfer.resumed_bytes,
    )


def missing(store: ReadOnlyStorage, root: Descriptor) -> tuple[Descriptor, ...]:
    """What the store lacks below `root`: blobs, and manifests of an index. Raises: NotFoundError without `root`."""
    absent: dict[Digest, Descriptor] = {}

    def is_here(desc: Descriptor) -> bool:
        # Below a manifest that is not here, nobody knows what there is.
        if is_document(desc) and not store.exists(desc):
            absent[desc.digest] = desc
        return desc.digest not in absent

    blobs = [desc for desc, found in walk(store, root, wanted=is_here) if found is None and not store.exists(desc)]
    return (*absent.values(), *blobs)


class _Stopped(Exception):
    """This transfer ends because another one failed."""


class _Transfer:
    def __init__(
        self, source: ReadOnlyStorage, target: Storage, progress: Progress, connections: Connections | None
    ) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._connections = connections
        self._neighbour = _neighbour(source, target)
        self._lock = threading.Lock()
        self.read_bytes = 0
        self.resumed_bytes = 0
        self.stop = threading.Event()

    def move(self, desc: Descriptor, content: Content | None = None, *, is_lost: bool = False) -> Outcome:
        """Bring one piece of content over, if it is not there; the target may believe so of one that `is_lost`.

        Raises: what the stores raise; _Stopped.
        """
        key = str(desc.digest)
        self._progress.start(key, _label(desc), desc.size)
        outcome: Outcome = "failed"
        try:
            outcome = self._moved(desc, content, key, is_lost)
        finally:
            self._progress.finish(key, outcome)
        return outcome

    def _moved(self, desc: Descriptor, content: Content | None, key: str, is_lost: bool) -> Outcome:
        if not is_lost:
            if self._target.exists(desc):
                return "present"
            if content is None and isinstance(self._target, Mounter) and self._target.mount(desc, self._neighbour):
                return "present"
        metered = self._metered(desc, content, key)
        self._target.push(desc, metered)
        with self._lock:
            self.read_bytes += metered.read_bytes
            self.resumed_bytes += metered.resumed_bytes
        return "done"

    def _metered(self, desc: Descriptor, content: Content | None, key: str) -> _Metered:
        def advance(count: int) -> None:
            self._progress.advance(key, count)

        if content is not None:
            return _Metered(content, advance, self.stop)
        if not is_far(self._source, desc):
            return _Metered(StoredContent(self._source, desc), advance, self.stop)
        return _Far(
            self._source,
            desc,
            advance,
            lambda count: self._progress.resume(key, count),
            self.stop,
            self._connections,
        )


class _Metered:
    """Content that tells how much of it was read; a request that starts over takes its bytes back first."""

    def __init__(self, content: Content, advance: Callable[[int], None], stop: threading.Event) -> None:
        self._content = content
        self._advance = advance
        self._stop = stop
        self._lock = threading.Lock()
        self._shown = 0
        self._is_told = False
        self.read_bytes = 0
        """Those that were read twice are counted twice."""
        self.resumed_bytes = 0

    @contextmanager
    def open(self, *, offset: int = 0) -> Iterator[BinaryIO]:
        if not self._is_told:
            self._show(offset)
        with self._content.open(offset=offset) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._count))

    def had(self, count: int) -> None:
        """See `Metered`."""
        with self._lock:
            self.read_bytes -= count
            self.resumed_bytes += count

    def _count(self, count: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        with self._lock:
            self.read_bytes += count
            self._shown += count
        self._advance(count)

    def _show(self, position: int) -> None:
        with self._lock:
            missing_count, self._shown = position - self._shown, position
        if missing_count:
            self._advance(missing_count)


class _Far(_Metered):
    """Content of a store that is not on this machine: see `Resumable`."""

    def __init__(
        self,
        store: ReadOnlyStorage,
        desc: Descriptor,
        advance: Callable[[int], None],
        resume: Callable[[int], None],
        stop: threading.Event,
        connections: Connections | None,
    ) -> None:
        far = FarContent(store, desc, connections)
        super().__init__(far, advance, stop)
        self._far = far
        self._resume = resume
        self.connections = far.connections

    def resumed(self, count: int) -> None:
        self._is_told = True
        with self._lock:
            self.resumed_bytes = self._shown = count
        self._resume(count)

    @contextmanager
    def open_range(self, *, offset: int, length: int, is_exact: bool) -> Iterator[BinaryIO]:
        with self._far.open_range(offset=offset, length=length, is_exact=is_exact) as stream:
            yield cast(BinaryIO, MeteredReader(stream, self._count))


def _in_threads(transfer: _Transfer, blobs: list[Descriptor], concurrency: int) -> list[Outcome]:
    """The outcome of each blob. Raises: the first error, or KeyboardInterrupt, once the others have stopped.

    Daemon threads and no executor: an executor waits at the end of the program for a thread that hangs in a
    connection, and Ctrl-C would not be heard for as long.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Outcome | BaseException]] = queue.SimpleQueue()
    for number in range(len(blobs)):
        todo.put(number)

    def work() -> None:
        while not transfer.stop.is_set():
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, transfer.move(blobs[number])))
            except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, which raises it
                done.put((number, error))

    threads = [
        threading.Thread(target=work, name=f"mlkit-copy-{number}", daemon=True)
        for number in range(min(max(1, concurrency), len(blobs)))
    ]
    outcomes: dict[int, Outcome] = {}
    try:
        for thread in threads:
            thread.start()
        while len(outcomes) < len(blobs):
            number, outcome = done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes[number] = outcome
    except BaseException:
        transfer.stop.set()
        deadline = time.monotonic() + _STOP_WAIT
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        raise
    return [outcomes[number] for number in range(len(blobs))]


def _neighbour(source: ReadOnlyStorage, target: Storage) -> str | None:
    """The source's repository, where source and target are repositories of one host."""
    if not (isinstance(source, Mounter) and isinstance(target, Mounter)):
        return None
    host, _, repository = source.name.partition("/")
    target_host, _, target_repository = target.name.partition("/")
    return repository if host == target_host and repository != target_repository else None


def _label(desc: Descriptor) -> str:
    return desc.annotations.get(TITLE) or desc.annotations.get(FILEPATH) or desc.digest.short
