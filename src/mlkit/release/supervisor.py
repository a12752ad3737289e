"""Runs one program and ends with everything that it started: a script for a process of its own, without packages.

    python -I supervisor.py SECONDS FD PROGRAM [ARGUMENT...]

What came of it is written to FD as JSON. On Linux whatever the program leaves behind becomes a child of this process
(PR_SET_CHILD_SUBREAPER), however often it forked and whatever session it went into, and is killed. Elsewhere its
process group is.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SUBREAPER, _DEATH_SIGNAL = 36, 1  # prctl(2)
_LOOK = 0.01  # seconds between looks at the child
_KILLING = 5.0  # seconds; a process that forks as fast as it can is killed in the end


def main() -> None:
    """Supervise. Ends by SIGTERM too, also when whoever started it died."""
    limit, told, argv = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    signal.signal(signal.SIGTERM, _stop)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    os.set_inheritable(told, False)
    started = time.monotonic()
    status, problem = None, None
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        problem = error.strerror or "cannot be run"
    else:
        status = _wait(child.pid, started + limit)
        _kill_all(child.pid)
    seconds = time.monotonic() - started
    found = {"status": status, "seconds": seconds, "timed_out": status is None and problem is None, "problem": problem}
    os.write(told, json.dumps(found).encode())


def _wait(pid: int, deadline: float) -> "int | None":
    """The exit code, negative for a signal; None where time ran out."""
    while time.monotonic() < deadline:
        found, status = os.waitpid(-1, os.WNOHANG)  # orphans come to us, too
        if found == pid:
            return os.waitstatus_to_exitcode(status)
        if found == 0:
            time.sleep(_LOOK)
    return None


def _kill_all(group: int) -> None:
    deadline = time.monotonic() + _KILLING
    while time.monotonic() < deadline:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for pid in _descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_LOOK)


def _descendants() -> "list[int]":
    """Every process below this one, by /proc; none where there is no such thing."""
    parents: dict[int, int] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in names:
        try:
            # The name of the program, in parentheses, may hold anything.
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    found: list[int] = []
    level = [os.getpid()]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level]
        found += level
    return found


def _stop(*_: object) -> None:
    _kill_all(0x7FFFFFFF)  # no group of this number: all below us are found by /proc
    os._exit(143)


if __name__ == "__main__":
    main()
