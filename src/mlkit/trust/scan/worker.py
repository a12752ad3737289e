"""The scanner's own process: it is handed open files, never paths, and gives results. `sandbox` starts it.

`python -P -m mlkit.trust.scan.worker DESCRIPTOR MEMORY`
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import warnings
from collections import OrderedDict
from typing import Final

from mlkit.trust.scan import wire
from mlkit.trust.scan.findings import FileResult
from mlkit.trust.scan.opinion import second_opinion
from mlkit.trust.scan.scanning import scan_file
from mlkit.trust.scan.secrets import are_found
from mlkit.trust.scan.source import Budget, FileSource, Source

_BLOCK: Final = 64 * 1024
_BLOCKS: Final = 64
_FILES: Final = 64  # descriptors: a handful of our own, and what imports open
_PICKLED: Final = ("pickle", "joblib", "torch")


def main() -> None:
    """Answer until the parent is gone."""
    link = socket.socket(fileno=int(sys.argv[1]))
    # What codecs and regular expressions warn of in hostile texts is nobody's business.
    warnings.simplefilter("ignore")
    has_secrets = are_found()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES)
    _limit(resource.RLIMIT_AS, int(sys.argv[2]))
    wire.send_object(link, {"ready": True, "secrets": has_secrets})
    while True:
        try:
            task = wire.receive_object(link)
            descriptor = _descriptor(link) if task["is_file"] else None
        except EOFError:
            return
        _limit_time(task["seconds"])
        size = task["size"]
        source: Source = (
            _Asked(link, size) if descriptor is None else FileSource(descriptor, offset=task["offset"], size=size)
        )
        try:
            budget = Budget(expansion=task["expansion"], members=task["members"])
            result = scan_file(source, task["path"], is_far=task["is_far"], secrets=task["secrets"], budget=budget)
            opinion = _opinion(source, result) if task["opinion"] else None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        wire.send_object(link, wire.rendered(result, opinion))


def _opinion(source: Source, result: FileResult) -> str | None:
    is_pickled = result.kind.startswith(_PICKLED)
    return second_opinion(source, result.path) if is_pickled else None


def _descriptor(link: socket.socket) -> int:
    _, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    if not descriptors:
        raise EOFError
    return descriptors[0]


def _limit(kind: int, amount: int) -> None:
    """Lower a limit, as far as the system has it."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        amount = min(amount, hard)
    try:
        resource.setrlimit(kind, (amount, amount))
    except (OSError, ValueError):
        return  # macOS has no RLIMIT_AS worth the name; the other limits hold


def _limit_time(seconds: int) -> None:
    """Processor time from now on; whoever uses more is killed by the kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, hard))


class _Asked:
    """A file that the parent reads: one in a registry, or in a compressed layer."""

    def __init__(self, link: socket.socket, size: int) -> None:
        self._link = link
        self._size = size
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        if length > _BLOCK:
            return b"".join(
                self._ask(start, min(wire.READ_LIMIT, offset + length - start))
                for start in range(offset, offset + length, wire.READ_LIMIT)
            )
        first, last = offset // _BLOCK, (offset + length - 1) // _BLOCK
        content = b"".join(self._block(number) for number in range(first, last + 1))
        return content[offset - first * _BLOCK :][:length]

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            self._blocks[number] = self._ask(start, min(_BLOCK, self._size - start))
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[number]

    def _ask(self, offset: int, length: int) -> bytes:
        wire.send_object(self._link, {"read": [offset, length]})
        return wire.receive(self._link)


if __name__ == "__main__":
    main()
