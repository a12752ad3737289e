"""Layers read or written at once, and stopped at once: an error or an interruption leaves no thread behind that still
writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from mlkit.packing.fetch import Moved
from mlkit.progress import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """One layer, or one file from elsewhere, to be read once."""

    key: str
    """By which progress is told; no other job has it."""
    label: str
    size: int
    """Bytes that it writes, as far as that is known."""
    reads: int
    """Bytes that it asks of the store, about."""
    write: Callable[[Moved], None]


class _Stopped(Exception):
    """A layer was given up because another one failed; that one's error is the one that people see."""


def run_jobs(
    jobs: Sequence[Job], concurrency: int, progress: Progress, *, on_done: Callable[[Job], None] | None = None
) -> None:
    """All jobs, several at once, the longest first; the first error stops the others and is raised.

    `on_done` is called for each by the calling thread, as soon as it ended well.
    """
    ordered = sorted(jobs, key=lambda job: job.reads, reverse=True)
    gate = _Gate()
    try:
        with ThreadPoolExecutor(max(1, min(concurrency, len(jobs))), thread_name_prefix="mlkit-job") as threads:
            try:
                futures = {threads.submit(_run_one, job, progress, gate): job for job in ordered}
                for future in as_completed(futures):
                    future.result()
                    if on_done is not None:
                        on_done(futures[future])
            except BaseException:
                # KeyboardInterrupt too: the threads hear of it at their next chunk.
                gate.shut()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        gate.wait()


def _run_one(job: Job, progress: Progress, gate: _Gate) -> None:
    key = job.key

    def moved(count: int) -> None:
        gate.check()
        progress.advance(key, count)

    with gate.passed():
        progress.start(key, job.label, job.reads)
        try:
            job.write(moved)
        except BaseException:
            progress.finish(key, "failed")
            raise
        progress.finish(key, "done")


class _Gate:
    """Knows who is at work, and stops it.

    ThreadPoolExecutor alone does not: interrupted while it starts a thread, it forgets that one and never waits for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Work. Raises: _Stopped where it should not even begin."""
        with self._changed:
            self.check()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def check(self) -> None:
        """Raises: _Stopped once the gate is shut."""
        if self._is_shut:
            raise _Stopped

    def shut(self) -> None:
        """Let nobody in, and have those who are inside stop at their next chunk."""
        with self._changed:
            self._is_shut = True

    def wait(self) -> None:
        """Until nobody is inside, nor will be."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: self._inside == 0)
