"""Scans files in a process of its own, with limits on its memory and time: what ends it ends nothing else.

A process that crashes, hangs or grows gives the verdict "unknown" for its file, and the next file gets a new one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mlkit.errors import IntegrityError
from mlkit.trust.scan import wire
from mlkit.trust.scan.findings import FileResult, Finding, Severity
from mlkit.trust.scan.source import EXPANSION_LIMIT, MEMBER_LIMIT, Source

MEMORY: Final = 1 << 30
"""Bytes of address space; the interpreter alone takes 50 MB of it, a scan some more."""
SECONDS: Final = 120
"""For one file, of processor time and by the clock, without the time that the parent takes to read for it."""
_START: Final = 30.0
_HOME: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Task:
    """One file to look at."""

    path: str
    """As it stands in the report."""
    size: int
    descriptor: int | None = None
    """An open file that holds the content; else `source`."""
    offset: int = 0
    """Where in that file the content begins."""
    source: Source | None = None
    is_far: bool = False
    """Whether reading is dear."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may use up for one file."""

    memory: int = MEMORY
    seconds: int = SECONDS
    expansion: int = EXPANSION_LIMIT
    """Bytes that may come out of its archives."""
    members: int = MEMBER_LIMIT
    """Members of its archives."""


class Sandbox:
    """A process that scans, started when it is first needed. Use as a context manager."""

    def __init__(
        self,
        *,
        secrets: bool = True,
        opinion: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._opinion = opinion
        self._limits = limits or Limits()
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self.finds_secrets = False
        """Whether the library for that is installed; known once a file was scanned."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def scan(self, task: Task) -> tuple[FileResult, str | None]:
        """The result for one file, and the second opinion where one was asked for.

        What reading `task.source` raises goes through; whatever happens to the process does not.
        """
        try:
            return self._asked(task)
        except _FailedError as error:
            self.close()
            finding = Finding("scanner-failed", Severity.MEDIUM, task.path, f"the scanner failed: {error}")
            return FileResult(task.path, task.size, "unknown", (finding,), False), None
        except BaseException:
            # Half of an answer may be on its way, which the next file must not be given.
            self.close()
            raise

    def _asked(self, task: Task) -> tuple[FileResult, str | None]:
        with self._failures():
            link = self._link or self._start()
            link.settimeout(self._limits.seconds + 1.0)
            wire.send_object(link, self._message(task))
            if task.descriptor is not None:
                socket.send_fds(link, [b"F"], [task.descriptor])
        until = self._clock() + self._limits.seconds
        while True:
            with self._failures():
                link.settimeout(max(0.001, until - self._clock()))
                answer = wire.receive_object(link)
                if "read" not in answer:
                    return wire.parsed(answer, task.path, task.size)
                offset, length = _asked_for(answer["read"], task)
            began = self._clock()
            assert task.source is not None
            content = task.source.read_at(offset, length)
            until += self._clock() - began
            with self._failures():
                link.settimeout(self._limits.seconds + 1.0)
                wire.send(link, content)

    def _message(self, task: Task) -> dict[str, Any]:
        return {
            "path": task.path.encode("utf-8", "backslashreplace").decode("utf-8"),
            "size": task.size,
            "offset": task.offset,
            "is_file": task.descriptor is not None,
            "is_far": task.is_far,
            "secrets": self._secrets,
            "opinion": self._opinion,
            "seconds": self._limits.seconds,
            "expansion": self._limits.expansion,
            "members": self._limits.members,
        }

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Tell what goes wrong with the process apart from what goes wrong with reading for it."""
        try:
            yield
        except EOFError as error:
            raise _FailedError(self._how_it_ended()) from error
        except TimeoutError as error:
            raise _FailedError(f"it took more than {self._limits.seconds} seconds") from error
        except IntegrityError as error:
            raise _FailedError(error.message) from error
        except OSError as error:
            raise _FailedError(f"{os.strerror(error.errno or 0)}; {self._how_it_ended()}") from error

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-s", "-B", "-m", "mlkit.trust.scan.worker"]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self._limits.memory)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                # Nothing of the user's environment: no keys, no proxies, no PYTHONSTARTUP.
                env={"PYTHONPATH": str(_HOME), "LC_ALL": "C.UTF-8"},
            )
        self._link = ours
        ours.settimeout(_START)
        ready = wire.receive_object(ours)
        self.finds_secrets = ready.get("secrets") is True
        return ours

    def _how_it_ended(self) -> str:
        if self._process is None:
            return "it did not start"
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it stopped answering"
        if status < 0:
            return f"it was ended by signal {-status}"
        return f"it ended with status {status} (out of memory, or by a mistake of its own)"


def _asked_for(asked: Any, task: Task) -> tuple[int, int]:
    """Raises: IntegrityError."""
    is_sound = isinstance(asked, list) and len(asked) == 2 and all(type(number) is int for number in asked)
    if not is_sound or task.source is None or not (asked[0] >= 0 and 0 <= asked[1] <= wire.READ_LIMIT):
        raise IntegrityError("it asked for what it was not given")
    return asked[0], asked[1]


class _FailedError(Exception):
    """The process is of no more use."""
