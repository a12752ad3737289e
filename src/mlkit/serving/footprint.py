"""What a server uses while it works: memory and CPU of all its processes, and memory of the GPUs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY = 0.2  # seconds between two looks
_GPU_EVERY = 5  # looks between two at the GPUs: asking starts a program


class Footprint:
    """Watches the processes of a session from a thread; use as a context manager."""

    def __init__(self, session: int, *, gpu_bytes: Callable[[], int | None]) -> None:
        """`session`: the number of a session leader (setsid(2)); `gpu_bytes`: what all GPUs hold now."""
        self._session = session
        self._gpu_bytes = gpu_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="footprint", daemon=True)
        self.peak_memory: int | None = None
        """Bytes; shared pages count once where the kernel tells (smaps_rollup), else for each process."""
        self.peak_gpu: int | None = None
        """Bytes of all GPUs, whoever uses them."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look(with_gpu=True)

    def cpu_seconds(self) -> float:
        """CPU time of the processes that live now, and of their children that ended."""
        return sum(stat[1] for stat in self._processes()) / _TICKS

    def _watch(self) -> None:
        count = 0
        while not self._stop.is_set():
            self._look(with_gpu=count % _GPU_EVERY == 0)
            count += 1
            self._stop.wait(_EVERY)

    def _look(self, *, with_gpu: bool) -> None:
        memory = sum(_memory(pid, rss) for pid, _, rss in self._processes())
        if memory:
            self.peak_memory = max(memory, self.peak_memory or 0)
        found = self._gpu_bytes() if with_gpu else None
        if found is not None:
            self.peak_gpu = max(found, self.peak_gpu or 0)

    def _processes(self) -> Iterator[tuple[int, int, int]]:
        """Number, CPU ticks and resident pages of each process of the session (proc_pid_stat(5))."""
        if not _PROC.is_dir():
            return
        for entry in _PROC.iterdir():
            if not entry.name.isdigit():
                continue
            # A process may end while it is looked at.
            with suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == self._session:
                    yield int(entry.name), sum(map(int, fields[11:15])), int(fields[21])


def _memory(pid: int, rss: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return rss * _PAGE
