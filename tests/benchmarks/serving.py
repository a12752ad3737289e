"""How long `mlkit serve` takes until a kit can be asked, beyond what its server takes by itself, in seconds."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import MLKIT, Result

from mlkit.serving.probe import free_port

if TYPE_CHECKING:
    from tests.benchmarks.run import Bench

ROOT = Path(__file__).parents[2]
_LIMIT = 2.0  # seconds
_PATIENCE = 120.0
_READY = "/v2/models/digits/ready"


def measure(bench: Bench) -> Iterator[Result]:
    """The digits example; nothing where its server is not installed."""
    if find_spec("kserve") is None or find_spec("skl2onnx") is None:
        return
    project = bench.folder / "project"
    subprocess.run([sys.executable, str(ROOT / "examples/digits/train.py"), str(project)], check=True)
    environ = os.environ | {"MLKIT_HOME": str(bench.folder / "store")}
    subprocess.run(
        [MLKIT, "pack", str(project), "-t", "digits:1.2", "-q"], env=environ, check=True, capture_output=True
    )
    (model,) = project.rglob("*.onnx")
    ours, theirs = [], []
    for _ in range(bench.rounds):
        port = free_port("127.0.0.1", 0)
        alone = [sys.executable, "-m", "mlkit.integrations.kserve_onnx", f"--model-path={model}", "--model-name=digits"]
        theirs.append(_until_ready([*alone, "--host=127.0.0.1", f"--port={port}"], port, environ))
        port = free_port("127.0.0.1", 0)
        ours.append(
            _until_ready([MLKIT, "serve", "digits:1.2", "--runtime", "onnx", "--port", str(port)], port, environ)
        )
    both = statistics.median(ours), statistics.median(theirs)
    detail = f"mlkit serve {both[0]:.2f} s, the server alone {both[1]:.2f} s"
    yield Result("serve digits, beyond the server's own start", both[0] - both[1], _LIMIT, "s", detail)


def _until_ready(command: Sequence[str], port: int, environ: dict[str, str]) -> float:
    """Seconds from the start of a command until the model can be asked; the command is ended."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while time.perf_counter() - start < _PATIENCE:
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
            if _is_ready(port):
                return time.perf_counter() - start
            time.sleep(0.02)
        raise SystemExit(f"{' '.join(command)}: not ready after {_PATIENCE:g} s")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{_READY}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
