"""A process that has imported all of mlkit and forks a child for each run: `python -m tests.support.crash.zygote`.

One JSON object on each line of stdin, one on each of stdout. strace is attached to the child before it begins, so it
counts no system call of an import, and a run costs a twentieth of a second and not a whole one.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlkit
from mlkit.cli.main import run

_PR_SET_PTRACER = 0x59616D61
_ANYBODY = ctypes.c_ulong(-1)
_ROOMS = ("cli", "api", "trust", "packing", "registry", "archive", "content", "spec")
_PATIENCE = 120.0  # seconds for a run


def main() -> None:
    """Serve until stdin ends."""
    for found in pkgutil.walk_packages(mlkit.__path__, "mlkit."):
        if found.name.split(".")[1] in _ROOMS:
            importlib.import_module(found.name)
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), flush=True)


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    at_gate, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.close(at_gate)
        _child(request, reading, tell)
    os.close(reading)
    os.close(tell)
    # Not before the child stands at its gate: a fault must not hit a call that is not mlkit's.
    os.read(at_gate, 1)
    os.close(at_gate)
    tracer = None
    if request["strace"]:
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", *request["strace"], "-p", str(child)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if not _is_traced(child, tracer):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(writing)
            _, told = tracer.communicate()
            return {"code": None, "refused": told.decode(errors="replace")[-500:]}
    started = time.monotonic()
    os.write(writing, b"go")
    os.close(writing)
    if request["signal"]:
        time.sleep(request["after"])
        os.kill(child, request["signal"])
    status = _waited(child, started + _PATIENCE)
    took = time.monotonic() - started
    if tracer is not None:
        tracer.communicate(timeout=60)
    return {"code": os.waitstatus_to_exitcode(status), "took": took}


def _is_traced(child: int, tracer: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and tracer.poll() is None:
        status = Path(f"/proc/{child}/status").read_text(encoding="ascii", errors="replace")
        if int(status.partition("TracerPid:")[2].split()[0]):
            time.sleep(0.003)  # attached: now it also stops at system calls
            return True
        time.sleep(0.001)
    return False


def _waited(child: int, deadline: float) -> int:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError("a run did not end")
        time.sleep(0.002)


def _child(request: dict[str, Any], gate: int, tell: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    code = 70
    try:
        for number, path in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
            file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(request["environ"])
        os.chdir(request["cwd"])
        for name, limit in request["limits"].items():
            number = getattr(resource, name)
            resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
        sys.argv = ["mlkit", *request["arguments"]]
        os.close(tell)  # its end is what the parent reads
        os.read(gate, 2)
        os.close(gate)
        try:
            run()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1 if left.code else 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001  # it must not go on as a second zygote
        os.write(2, repr(error).encode())
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
