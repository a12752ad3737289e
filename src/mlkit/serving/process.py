"""A server as a child of this process: its output, its end, and no trace of it afterwards.

It has a session of its own: Ctrl-C in the terminal reaches mlkit alone, which then stops the server with everything
that the server started. The kernel ends it too where mlkit is killed and can no longer do that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mlkit.errors import ProgramError

GRACE = 1.5
"""Seconds between SIGTERM and SIGKILL: an interrupted mlkit has two in all, and a server of weights has nothing to
save."""

_TAIL_LINES = 30
_LINE_LIMIT = 2000  # characters of a line that are kept; progress bars can come as one endless line
_POLL = 0.02  # seconds
_GONE = 0.4  # seconds in which what was killed goes away, unless nobody reaps it
_PR_SET_PDEATHSIG = 1  # prctl(2)


class ServerProcess:
    """A running server; use as a context manager, at whose end nothing of it runs any more."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Start it. `on_line` is told each line of its output, by a thread. Raises: ProgramError."""
        self.argv = tuple(argv)
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        try:
            self._child = subprocess.Popen(
                self.argv,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # One call of libc, found before the fork: safe beside threads, which preexec_fn in general is not.
                preexec_fn=_dies_with_parent(),  # noqa: PLW1509
            )
        except OSError as error:
            raise ProgramError(f"{self.argv[0]!a} cannot be started: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, name="server output", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the server, and of its process group."""
        return self._child.pid

    @property
    def tail(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._tail)

    def has_exited(self) -> bool:
        """Whether the server itself has ended; what it started may still run."""
        if self._child.returncode is not None:
            return True
        # Without reaping it: while it is a zombie, nobody else can get the number of its process group.
        found = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it came."""
        ends = time.monotonic() + seconds
        while not self.has_exited():
            if time.monotonic() >= ends:
                return False
            time.sleep(_POLL)
        return True

    def stop(self, grace: float = GRACE) -> int:
        """End the whole process group, kindly at first; gives the exit status of the server, negative for a signal."""
        if self._child.returncode is None:
            try:
                if not self.has_exited():
                    self._signal(signal.SIGTERM)
                    self.wait(grace)
            finally:
                # Also where Ctrl-C comes once more: what is left goes at once.
                self._signal(signal.SIGKILL)
                self._child.wait()
                self._wait_for_group()
        self._reader.join(timeout=1)
        return self._child.returncode

    def failure(self, what: str) -> ProgramError:
        """The error for a server that `what`, with the end of its output; stops it."""
        status = self.stop()
        how = ""
        if self.tail:
            how = f"; it said:\n{self.tail}"
        elif what == "ended":
            how = " and said nothing"
        ended = _spelled(status) if what == "ended" else what
        return ProgramError(f"the server {ended}{how}", hint="its command was: " + " ".join(map(ascii, self.argv)))

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _wait_for_group(self) -> None:
        """Until the kernel has taken back what was killed: ports and the memory of GPUs are free only then."""
        ends = time.monotonic() + _GONE
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < ends:
                os.killpg(self._child.pid, 0)
                time.sleep(_POLL)

    def _read(self) -> None:
        stream = self._child.stdout
        assert stream is not None
        with stream:
            while raw := stream.readline(_LINE_LIMIT):
                line = raw.decode("utf-8", "backslashreplace").rstrip()
                if line:
                    self._tail.append(line)
                    if self._on_line is not None:
                        self._on_line(line)


def _spelled(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _dies_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
